"""AdaGN and AdaGNSilu: adaptive group normalization (Xiao et al. 2022, appendix C; Wu & He 2018).

    AdaGN       y = scale * (x - mean_g) / sqrt(var_g + epsilon) + shift
    AdaGNSilu   y = silu of that, silu(v) = v / (1 + exp(-v))

mean_g and var_g are the mean and the biased variance over each of ``groups``
groups of channels and all pixels. Statistics, affine map and activation are
float32 whatever x is. With constant scale and shift it is affine GroupNorm.

Each is an op of its own, with one signature and one body: overloads of functions are taken for
one function by many readers of ONNX, silently.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import library as torch_ops

from ..op import OpSpec

ACTIVATIONS = ("none", "silu")


def reference(
    x: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    groups: int,
    epsilon: float = 1e-6,
    activation: str = "none",
) -> torch.Tensor:
    """AdaGN in PyTorch; differentiable.

    Args:
        x: [N, C, H, W], any float type.
        scale, shift: [N or 1, C], any float type.
        groups: a divisor of C.
        epsilon: added to the variance.
        activation: "none" or "silu".

    Returns:
        [N, C, H, W] of x's type.

    Raises:
        ValueError: ranks, channels, groups or activation do not fit together.
    """
    check(x, scale, shift, groups, activation)
    y = torch.group_norm(x.float(), groups, eps=epsilon)
    y = y * scale.float()[:, :, None, None] + shift.float()[:, :, None, None]
    return (F.silu(y) if activation == "silu" else y).to(x.dtype)


def check(
    x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, groups: int, activation: str, op: str = "AdaGN"
) -> None:
    """Refuses what does not fit together, in the name of ``op``.

    Raises:
        ValueError: ranks, channels, groups or activation do not fit together.
    """
    if x.dim() != 4:
        raise ValueError(f"{op}: x has {x.dim()} dimensions, it must be [N, C, H, W]")
    channels = x.shape[1]
    if groups < 1 or channels % groups:
        raise ValueError(f"{op}: {channels} channels cannot be divided into {groups} groups")
    for name, value in (("scale", scale), ("shift", shift)):
        if value.dim() != 2 or value.shape[1] != channels or value.shape[0] not in (1, x.shape[0]):
            raise ValueError(f"{op}: {name} has shape {list(value.shape)}, it must be [N or 1, {channels}]")
    if activation not in ACTIVATIONS:
        raise ValueError(f"{op}: activation {activation!r} is not one of {', '.join(ACTIVATIONS)}")


@torch_ops.custom_op("ddgan::adagn", mutates_args=())
def _adagn(
    x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, groups: int, epsilon: float, activation: str
) -> torch.Tensor:
    return reference(x, scale, shift, groups, epsilon, activation)


@_adagn.register_fake
def _(x: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(x)


def adagn(
    x: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    groups: int,
    epsilon: float = 1e-6,
    activation: str = "none",
) -> torch.Tensor:
    """`reference`, except that ``torch.export`` keeps it as one ``ddgan::adagn`` node."""
    if torch.compiler.is_exporting():
        y: torch.Tensor = torch.ops.ddgan.adagn(x, scale, shift, groups, epsilon, activation)
        return y
    return reference(x, scale, shift, groups, epsilon, activation)


# InstanceNormalization over [N, groups, rest] is the group statistics in one standard
# op, which every runtime has; ones and zeros stand in for its own affine map. The zero
# in Reshape's shape stands for x's own first size, so that the shape is a constant.
_AFFINE = """
        x32 = Cast <to = 1> (x)
        group_count = Constant <value_int: int = @groups> ()
        zero = Constant <value_ints = [0]> ()
        group_dim = Unsqueeze (group_count, zero)
        rest_dim = Constant <value_ints = [-1]> ()
        grouped_shape = Concat <axis = 0> (zero, group_dim, rest_dim)
        grouped = Reshape (x32, grouped_shape)
        one = Constant <value = float {1.0}> ()
        ones = Expand (one, group_dim)
        zeros = Sub (ones, ones)
        normalized_groups = InstanceNormalization <epsilon: float = @epsilon> (grouped, ones, zeros)
        x_shape = Shape (x)
        normalized = Reshape (normalized_groups, x_shape)
        spatial_axes = Constant <value_ints = [2, 3]> ()
        scale32 = Cast <to = 1> (scale)
        scale_nchw = Unsqueeze (scale32, spatial_axes)
        shift32 = Cast <to = 1> (shift)
        shift_nchw = Unsqueeze (shift32, spatial_axes)
        scaled = Mul (normalized, scale_nchw)
        affine = Add (scaled, shift_nchw)"""
_SILU = """
        gate = Sigmoid (affine)
        activated = Mul (affine, gate)
        y = CastLike (activated, x)"""


def _spec(name: str, end: str, flops: int) -> OpSpec:
    return OpSpec(
        name=name,
        inputs=(("x", "T"), ("scale", "S"), ("shift", "S")),
        outputs=(("y", "T"),),
        attributes={"groups": "INT", "epsilon": "FLOAT"},
        body=_AFFINE + end,
        flops=flops,
        like="x",
    )


ADAGN = _spec("AdaGN", "\n        y = CastLike (affine, x)", 6)
ADAGN_SILU = _spec("AdaGNSilu", _SILU, 10)
SPECS = (ADAGN, ADAGN_SILU)
BY_ACTIVATION = dict(zip(ACTIVATIONS, SPECS, strict=True))
"""Activation -> the op that ends in it."""
