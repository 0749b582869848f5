"""Whether tensors out of a file are weights: dense, no larger than what the file holds, finite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import short

if TYPE_CHECKING:
    import torch

_MIN_BYTES = 2
_MAX_NAME = 200


def checked_tensors(content: Mapping[str, Any], path: Path) -> dict[str, torch.Tensor]:
    """The weights as they are stored.

    Args:
        content: parameter name -> what should be a dense tensor in main memory.
        path: of the file, for the error.

    Raises:
        InputError: one is something else, or claims more numbers than the file holds.
    """
    if not content:
        raise InputError(f"{path} holds no weights: give a trained checkpoint")
    tensors = {name: _dense(value, name, path) for name, value in content.items()}
    claimed = 0
    stored = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        stored[storage.data_ptr()] = storage.nbytes()
        size = tensor.numel() * tensor.itemsize
        if size == 0:
            raise InputError(f"{path}: {name} holds no numbers: give the file as it was trained")
        if size > storage.nbytes():
            raise InputError(
                f"{path}: {name} has shape {list(tensor.shape)}, of which the file holds "
                f"{storage.nbytes() // tensor.itemsize} numbers, as views repeat them: save it by contiguous()"
            )
        claimed += size
    if claimed > sum(stored.values()):
        raise InputError(f"{path}: weights share their numbers with each other: save each by clone()")
    if sum(stored.values()) > path.stat().st_size:
        raise InputError(f"{path} is damaged, its weights claim more bytes than it has: copy it again")
    return tensors


def _dense(value: object, name: str, path: Path) -> torch.Tensor:
    import torch

    # Names go into messages from here on.
    if len(name) > _MAX_NAME or not name.isprintable():
        raise InputError(f"{path}: the key {short(name)} ({len(name)} characters) is no parameter of such a generator")
    if not isinstance(value, torch.Tensor):
        raise InputError(
            f"{path}: {name} is a {type(value).__name__}, not a tensor: give the generator's state dict alone"
        )
    if value.layout != torch.strided or value.is_nested or value.is_quantized or value.device.type != "cpu":
        kind = f"quantized ({value.dtype})" if value.is_quantized else f"{value.layout} on {value.device.type}"
        raise InputError(f"{path}: {name} is {kind}, not a dense tensor: save it dense")
    return value


def as_float32(tensor: torch.Tensor, name: str, path: Path) -> torch.Tensor:
    """The weight in float32.

    Raises:
        InputError: it is of another kind than floating point of 16 bits or more, or not finite.
    """
    import torch

    if not tensor.is_floating_point() or tensor.dtype.itemsize < _MIN_BYTES:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(f"{path}: {name} is {kind}: give weights in floating point of 16 bits or more")
    weight = tensor.detach().to(torch.float32).contiguous()
    if not torch.isfinite(weight).all():
        raise InputError(
            f"{path}: {name} holds NaN or infinite values: training has diverged, give an earlier checkpoint"
        )
    return weight
