"""AdaGNGrad and AdaGNSiluGrad on PyTorch tensors, by their Triton-language kernels."""

from __future__ import annotations

import torch

from .. import torch_launch
from .launches import LAUNCHES, sizes
from .spec import check


def adagn_grad(
    dy: torch.Tensor,
    x: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    groups: int,
    epsilon: float = 1e-6,
    activation: str = "none",
) -> torch.Tensor:
    """The gradient of AdaGN, as `spec.reference`; dx has x's memory layout, NCHW or channels-last.

    Raises:
        ValueError: ranks, types, channels, groups or activation do not fit together.
    """
    check(dy, x, scale, shift, groups, activation)
    x, layout = torch_launch.dense(x)
    dy = dy.contiguous(memory_format=torch_launch.memory_format(layout))
    dx = torch.empty_like(x)
    # One row count for both: a style of one row is repeated only where the other is not.
    rows = max(scale.shape[0], shift.shape[0])
    scale, shift = (value.expand(rows, -1).contiguous() for value in (scale, shift))
    tensors = {"dy": dy, "x": x, "scale": scale, "shift": shift, "dx": dx}
    torch_launch.run(LAUNCHES, layout, tensors, sizes(x.shape, rows, groups, epsilon, activation))
    return dx
