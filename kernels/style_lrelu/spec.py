"""StyleLrelu: what follows a convolution of StyleGAN2 (Karras et al. 2020, section 2.2 and figure 2d).

    v = (scale * x + noise) + bias
    y = min(max(v if v >= 0 else alpha * v, -limit), limit)

in float32 whatever x is: demodulation, noise, bias, leaky ReLU and clamp in one pass over the features. The gain after
the activation is in scale, noise and bias, since a leaky ReLU of a v is a times that of v for a > 0. alpha = 0 is a
ReLU, alpha = 1 no activation.

Each product and each sum is rounded in the order that stands above: function body, PyTorch and the C++ kernel on every
instruction set agree bit for bit, but that a compiler for GPUs may fuse a product with a sum. What is nan stays nan.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import library as torch_ops

from ..op import OpSpec


def reference(
    x: torch.Tensor,
    scale: torch.Tensor,
    noise: torch.Tensor,
    bias: torch.Tensor,
    limit: torch.Tensor,
    alpha: float = 0.2,
) -> torch.Tensor:
    """StyleLrelu in PyTorch.

    Args:
        x: [N, C, H, W], any float type.
        scale: [N, C], float32.
        noise: [N or 1, 1, H, W], float32, or [1, 1, 1, 1].
        bias: [C], float32.
        limit: [1], float32, positive; the largest float32 where nothing is cut off.
        alpha: slope below zero.

    Returns:
        [N, C, H, W] of x's type.

    Raises:
        ValueError: shapes do not fit together.
    """
    check(x, scale, noise, bias, limit)
    v = x.float() * scale.float()[:, :, None, None] + noise.float() + bias.float()[:, None, None]
    return torch.clamp(F.leaky_relu(v, alpha), -limit, limit).to(x.dtype)


def check(x: torch.Tensor, scale: torch.Tensor, noise: torch.Tensor, bias: torch.Tensor, limit: torch.Tensor) -> None:
    """Refuses what does not fit together.

    Raises:
        ValueError: shapes do not fit together.
    """
    if x.dim() != 4:
        raise ValueError(f"StyleLrelu: x has {x.dim()} dimensions, it must be [N, C, H, W]")
    count, channels, height, width = x.shape
    pictures = [[count, 1, height, width], [1, 1, height, width], [1, 1, 1, 1]]
    for name, value, fits in (
        ("scale", scale, [[count, channels]]),
        ("noise", noise, pictures),
        ("bias", bias, [[channels]]),
        ("limit", limit, [[1]]),
    ):
        if list(value.shape) not in fits:
            ways = " or ".join(map(str, fits))
            raise ValueError(f"StyleLrelu: {name} has shape {list(value.shape)}, it must be {ways}")


@torch_ops.custom_op("ddgan::style_lrelu", mutates_args=())
def _style_lrelu(
    x: torch.Tensor,
    scale: torch.Tensor,
    noise: torch.Tensor,
    bias: torch.Tensor,
    limit: torch.Tensor,
    alpha: float,
) -> torch.Tensor:
    return reference(x, scale, noise, bias, limit, alpha)


@_style_lrelu.register_fake
def _(x: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(x)


def style_lrelu(
    x: torch.Tensor,
    scale: torch.Tensor,
    noise: torch.Tensor,
    bias: torch.Tensor,
    limit: torch.Tensor,
    alpha: float = 0.2,
) -> torch.Tensor:
    """`reference`, except that ``torch.export`` keeps it as one ``ddgan::style_lrelu`` node."""
    if torch.compiler.is_exporting():
        y: torch.Tensor = torch.ops.ddgan.style_lrelu(x, scale, noise, bias, limit, alpha)
        return y
    return reference(x, scale, noise, bias, limit, alpha)


SPEC = OpSpec(
    name="StyleLrelu",
    inputs=(("x", "T"), ("scale", "float"), ("noise", "float"), ("bias", "float"), ("limit", "float")),
    outputs=(("y", "T"),),
    attributes={"alpha": "FLOAT"},
    # Clip's own limits are scalars.
    body="""
        x32 = Cast <to = 1> (x)
        spatial_axes = Constant <value_ints = [2, 3]> ()
        scale_nchw = Unsqueeze (scale, spatial_axes)
        scaled = Mul (x32, scale_nchw)
        noised = Add (scaled, noise)
        pixel_axes = Constant <value_ints = [1, 2]> ()
        bias_chw = Unsqueeze (bias, pixel_axes)
        biased = Add (noised, bias_chw)
        activated = LeakyRelu <alpha: float = @alpha> (biased)
        most = Squeeze (limit)
        least = Neg (most)
        clipped = Clip (activated, least, most)
        y = CastLike (clipped, x)""",
    flops=7,
    like="x",
)
SPECS = (SPEC,)
