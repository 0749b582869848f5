"""AdaGN and AdaGNSilu on PyTorch tensors, by their Triton-language kernels."""

from __future__ import annotations

import torch

from .. import torch_launch
from .launches import LAUNCHES, sizes
from .spec import check


def adagn(
    x: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    groups: int,
    epsilon: float = 1e-6,
    activation: str = "none",
) -> torch.Tensor:
    """AdaGN, as `spec.reference`; y has x's memory layout, NCHW or channels-last.

    Raises:
        ValueError: ranks, channels, groups or activation do not fit together.
    """
    check(x, scale, shift, groups, activation)
    x, layout = torch_launch.dense(x)
    y = torch.empty_like(x)
    # One row count for both: a style of one row is repeated only where the other is not.
    rows = max(scale.shape[0], shift.shape[0])
    scale, shift = (value.expand(rows, -1).contiguous() for value in (scale, shift))
    tensors = {"x": x, "scale": scale, "shift": shift, "y": y}
    torch_launch.run(LAUNCHES, layout, tensors, sizes(x.shape, scale.shape[0], groups, epsilon, activation))
    return y
