"""ReverseStep and ReverseMean on PyTorch tensors, by their Triton-language kernels."""

from __future__ import annotations

import torch

from .. import torch_launch
from ..launch import ALIGNMENT, LINEAR
from .launches import MEAN, STEP, sizes
from .spec import check


def reverse_step(
    out: torch.Tensor, x: torch.Tensor, noise: torch.Tensor | None, coefficients: torch.Tensor
) -> torch.Tensor:
    """ReverseStep, or without noise ReverseMean, as `spec.reference`; x_prev has out's memory layout.

    Raises:
        ValueError: shapes do not fit together.
    """
    check(out, x, noise, coefficients)
    out, layout = torch_launch.dense(out)
    memory = torch_launch.memory_format(layout)
    images = {name: value for name, value in (("x", x), ("noise", noise)) if value is not None}
    images = {name: value.float().contiguous(memory_format=memory) for name, value in images.items()}
    coefficients = coefficients.float().contiguous()
    if coefficients.data_ptr() % ALIGNMENT:
        # A row of a table: its 28 bytes are copied sooner than the images are read in narrow pieces.
        coefficients = coefficients.clone()
    x_prev = torch.empty_like(images["x"])
    tensors = {"out": out, **images, "coefficients": coefficients, "x_prev": x_prev}
    torch_launch.run(MEAN if noise is None else STEP, LINEAR, tensors, sizes(out.shape))
    return x_prev
