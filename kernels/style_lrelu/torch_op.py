"""StyleLrelu on PyTorch tensors, by its Triton-language kernel."""

from __future__ import annotations

import torch

from .. import torch_launch
from .launches import LAUNCHES, sizes
from .spec import check


def style_lrelu(
    x: torch.Tensor,
    scale: torch.Tensor,
    noise: torch.Tensor,
    bias: torch.Tensor,
    limit: torch.Tensor,
    alpha: float = 0.2,
) -> torch.Tensor:
    """StyleLrelu, as `spec.reference`; y has x's memory layout, NCHW or channels-last.

    Raises:
        ValueError: shapes do not fit together.
    """
    check(x, scale, noise, bias, limit)
    x, layout = torch_launch.dense(x)
    y = torch.empty_like(x)
    others = {"scale": scale, "noise": noise, "bias": bias, "limit": limit}
    others = {name: value.float().contiguous() for name, value in others.items()}
    torch_launch.run(LAUNCHES, layout, {"x": x, **others, "y": y}, sizes(x.shape, noise.shape, alpha))
    return y
