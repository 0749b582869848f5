"""A weight file -> the inert mapping that it holds -> the generator's weights, checked.

PyTorch's pickles and safetensors files are read. Nothing in a file is ever executed.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from ddgan_deploy.errors import InputError

if TYPE_CHECKING:
    import torch

Weights = Literal["ema", "raw"]
"""Of a training state: the exponential moving average, or the weights it averages."""
_PREFIX = "module."
_MIN_BYTES = 2


def read(path: Path) -> dict[str, Any]:
    """The mapping that a file holds."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder: give the checkpoint file itself")
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty: give a trained checkpoint")
        with path.open("rb") as file:
            content = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_pickle(file, path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give the path of a trained checkpoint") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): give another file") from None
    return _state_dict(content, str(path))


def _state_dict(content: object, name: str) -> dict[str, Any]:
    if isinstance(content, dict) and all(isinstance(key, str) for key in content):
        return content
    kind = "dict whose keys are no texts" if isinstance(content, dict) else type(content).__name__
    raise InputError(f"{name} holds a {kind}, not a state dict: give a netG_<epoch>.pth or content.pth")


def _read_pickle(file: BinaryIO, path: Path) -> object:
    import torch

    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file ends in an error of almost any type
        code = re.search(r"\bGLOBAL (\S+)", str(error))
        if code:
            raise InputError(
                f"{path} holds pickled code ({code[1]}), which is never run: "
                "save the state dict alone (torch.save(netG.state_dict(), ...))"
            ) from None
        raise InputError(
            f"{path} is damaged or not a PyTorch checkpoint: copy it again, or give a netG_<epoch>.pth or content.pth"
        ) from None


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    import safetensors
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except safetensors.SafetensorError as error:
        raise InputError(f"{path} is not a safetensors file or is damaged: {error}") from None


def generator_weights(content: Mapping[str, Any], weights: Weights, path: Path) -> dict[str, Any]:
    """The generator's weights from a training state; its optimizer holds the EMA by parameter number."""
    raw = _state_dict(content["netG_dict"], f"{path} (netG_dict)")
    if weights == "raw":
        return raw
    optimizer = content.get("optimizerG")
    state = optimizer.get("state") if isinstance(optimizer, dict) else None
    averages = {}
    for number, key in enumerate(raw):
        entry = state.get(number) if isinstance(state, dict) else None
        if not isinstance(entry, dict) or "ema" not in entry:
            raise InputError(
                f"{path} has no EMA weights for {key} (optimizerG.state[{number}].ema): give --weights raw"
            )
        averages[key] = entry["ema"]
    return averages


def checked_tensors(content: Mapping[str, Any], path: Path) -> dict[str, torch.Tensor]:
    """The weights as they are stored, without the prefix of DistributedDataParallel."""
    import torch

    if not content:
        raise InputError(f"{path} holds no weights: give a trained checkpoint")
    for key, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(
                f"{path}: {key} is a {type(value).__name__}, not a tensor: give the generator's state dict alone"
            )
        if value.layout != torch.strided or value.is_nested or value.device.type != "cpu":
            raise InputError(
                f"{path}: {key} is {value.layout} on {value.device.type}, not a dense tensor: save it dense"
            )
    tensors = {key.removeprefix(_PREFIX): value for key, value in content.items()}
    if len(tensors) < len(content):
        raise InputError(f"{path} holds weights with and without the prefix {_PREFIX!r}: keep one of each")
    return tensors


def as_float32(tensor: torch.Tensor, name: str, path: Path) -> torch.Tensor:
    """The weight in float32."""
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
