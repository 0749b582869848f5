"""PosteriorSample on PyTorch tensors, by its Triton-language kernel."""

from __future__ import annotations

import torch

from .. import torch_launch
from ..launch import LINEAR
from .launches import LAUNCHES, sizes
from .spec import check


def posterior_sample(
    x0_raw: torch.Tensor,
    x_t: torch.Tensor,
    noise: torch.Tensor,
    coef_x0: float,
    coef_xt: float,
    sigma: float,
    squash: str = "none",
) -> torch.Tensor:
    """PosteriorSample, as `spec.reference`.

    Raises:
        ValueError: shapes differ, or squash is unknown.
    """
    check(x0_raw, x_t, noise, squash)
    x0_raw, layout = torch_launch.dense(x0_raw)
    memory = torch_launch.memory_format(layout)
    x_t, noise = (value.float().contiguous(memory_format=memory) for value in (x_t, noise))
    x_prev = torch.empty_like(x_t)
    tensors = {"x0_raw": x0_raw, "x_t": x_t, "noise": noise, "x_prev": x_prev}
    torch_launch.run(LAUNCHES, LINEAR, tensors, sizes(x0_raw.shape, coef_x0, coef_xt, sigma, squash))
    return x_prev
