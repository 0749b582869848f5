"""PhiloxNormal on PyTorch tensors, by its Triton-language kernel."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .. import torch_launch
from ..launch import LINEAR
from .launches import LAUNCHES, sizes


def philox_normal(
    seed: torch.Tensor, stream: int, shape: Sequence[int], dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """PhiloxNormal, as `spec.reference`, within 2 ulp of it in float32.

    Raises:
        ValueError: seed is not int64 [N, 1], stream not 0..2**32-1, or dtype none of `torch_launch.DTYPES`.
    """
    _check("PhiloxNormal", seed, stream)
    noise = torch.empty((seed.shape[0], *shape), dtype=dtype, device=seed.device)
    tensors = {"seed": seed.contiguous(), "noise": noise}
    torch_launch.run(LAUNCHES, LINEAR, tensors, sizes(seed.shape[0], stream, shape))
    return noise


def _check(op: str, seed: torch.Tensor, stream: int) -> None:
    if seed.dim() != 2 or seed.shape[1] != 1 or seed.dtype != torch.int64:
        raise ValueError(f"{op}: seed is {seed.dtype} {list(seed.shape)}, it must be int64 [N, 1]")
    if not 0 <= stream < 2**32:
        raise ValueError(f"{op}: stream is {stream}, it must be 0..{2**32 - 1}")
