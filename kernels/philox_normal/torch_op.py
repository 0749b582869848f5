"""The Philox ops on PyTorch tensors, by their Triton-language kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .. import torch_launch
from ..launch import LINEAR
from .launches import INTEGER, LAUNCHES, NORMAL_AT, sizes


def philox_normal(
    seed: torch.Tensor, stream: int | torch.Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """PhiloxNormal, as `spec.reference`, within 2 ulp of it in float32; PhiloxNormalAt where the stream is a tensor.

    Args:
        stream: its number, or an int64 tensor [] on the seeds' device, which is not waited for.

    Raises:
        ValueError: seed is not int64 [N, 1], stream not 0..2**32-1 or such a tensor, or dtype none of
            `torch_launch.DTYPES`.
    """
    _check_seed("PhiloxNormal", seed)
    noise = torch.empty((seed.shape[0], *shape), dtype=dtype, device=seed.device)
    tensors = {"seed": seed.contiguous(), "noise": noise}
    if isinstance(stream, torch.Tensor):
        if stream.shape or stream.dtype != torch.int64:
            raise ValueError(f"PhiloxNormalAt: stream is {stream.dtype} {list(stream.shape)}, it must be int64 []")
        torch_launch.run(NORMAL_AT, LINEAR, {**tensors, "stream": stream}, sizes(seed.shape[0], shape))
    else:
        _check_stream("PhiloxNormal", stream)
        torch_launch.run(LAUNCHES, LINEAR, tensors, sizes(seed.shape[0], shape, stream=stream))
    return noise


def philox_integer(seed: torch.Tensor, stream: int, shape: Sequence[int], below: int) -> torch.Tensor:
    """PhiloxInteger, as `spec.reference_integer`.

    Raises:
        ValueError: seed is not int64 [N, 1], stream not 0..2**32-1, or below not 1..2**31.
    """
    _check_seed("PhiloxInteger", seed)
    _check_stream("PhiloxInteger", stream)
    if not 1 <= below <= 2**31:
        raise ValueError(f"PhiloxInteger: below is {below}, it must be 1..{2**31}")
    values = torch.empty((seed.shape[0], *shape), dtype=torch.int64, device=seed.device)
    tensors = {"seed": seed.contiguous(), "values": values}
    torch_launch.run(INTEGER, LINEAR, tensors, sizes(seed.shape[0], shape, stream=stream, below=below))
    return values


def _check_seed(op: str, seed: torch.Tensor) -> None:
    if seed.dim() != 2 or seed.shape[1] != 1 or seed.dtype != torch.int64:
        raise ValueError(f"{op}: seed is {seed.dtype} {list(seed.shape)}, it must be int64 [N, 1]")


def _check_stream(op: str, stream: int) -> None:
    if not 0 <= stream < 2**32:
        raise ValueError(f"{op}: stream is {stream}, it must be 0..{2**32 - 1}")
