"""AdaGNGrad and AdaGNSiluGrad: the gradient by x of AdaGN and of AdaGNSilu (Wu & He 2018; `adagn.spec`).

    AdaGNGrad       u = scale * dy
    AdaGNSiluGrad   u = scale * dy * silu'(a),  a = scale * z + shift
    both            dx = r * (u - mean_g(u) - z * mean_g(u z)),  z = (x - mean_g) r,  r = 1 / sqrt(var_g + epsilon)

    silu'(a) = s + a s (1 - s),  s = 1 / (1 + exp(-a))

mean_g and var_g are those of AdaGN, over each of ``groups`` groups of channels and all pixels; they are computed
anew, so that AdaGN has one output. Everything is float32 whatever dy and x are. dy is the gradient by AdaGN's y.

There is no gradient by scale and shift. AdaGNGrad does not read shift, and takes it so that both have one signature.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import library as torch_ops

from ..adagn import spec as adagn
from ..op import OpSpec


def reference(
    dy: torch.Tensor,
    x: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    groups: int,
    epsilon: float = 1e-6,
    activation: str = "none",
) -> torch.Tensor:
    """The gradient in PyTorch, by the equations above.

    Args:
        dy: the gradient by AdaGN's output, of x's shape and type.
        x: [N, C, H, W], any float type.
        scale, shift: [N or 1, C], any float type.
        groups: a divisor of C.
        epsilon: added to the variance.
        activation: of AdaGN, "none" or "silu".

    Returns:
        dx [N, C, H, W] of x's type.

    Raises:
        ValueError: ranks, types, channels, groups or activation do not fit together.
    """
    check(dy, x, scale, shift, groups, activation)
    count, channels, height, width = x.shape

    def by_group(value: torch.Tensor) -> torch.Tensor:
        return value.reshape(count, groups, channels // groups * height * width)

    def mean(value: torch.Tensor) -> torch.Tensor:
        return value.mean(2, keepdim=True)

    x32 = by_group(x.float())
    centred = x32 - mean(x32)
    deviation = torch.sqrt(mean(centred.square()) + epsilon)
    z = centred / deviation
    slope = scale.float()[:, :, None, None]
    u = dy.float() * slope
    if activation == "silu":
        a = z.reshape(x.shape) * slope + shift.float()[:, :, None, None]
        s = torch.sigmoid(a)
        u = u * (s + a * s * (1 - s))
    u = by_group(u)
    dx = (u - mean(u) - z * mean(u * z)) / deviation
    return dx.reshape(x.shape).to(x.dtype)


def check(
    dy: torch.Tensor, x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, groups: int, activation: str
) -> None:
    """Refuses what does not fit together.

    Raises:
        ValueError: ranks, types, channels, groups or activation do not fit together.
    """
    if (dy.shape, dy.dtype) != (x.shape, x.dtype):
        told = (f"{value.dtype} {list(value.shape)}" for value in (dy, x))
        raise ValueError(f"AdaGNGrad: dy and x must have one shape and type, they are {' and '.join(told)}")
    adagn.check(x, scale, shift, groups, activation, op="AdaGNGrad")


@torch_ops.custom_op("ddgan::adagn_grad", mutates_args=())
def _adagn_grad(
    dy: torch.Tensor,
    x: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    groups: int,
    epsilon: float,
    activation: str,
) -> torch.Tensor:
    return reference(dy, x, scale, shift, groups, epsilon, activation)


@_adagn_grad.register_fake
def _(dy: torch.Tensor, x: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(x)


def adagn_grad(
    dy: torch.Tensor,
    x: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    groups: int,
    epsilon: float = 1e-6,
    activation: str = "none",
) -> torch.Tensor:
    """`reference`, except that ``torch.export`` keeps it as one ``ddgan::adagn_grad`` node."""
    if torch.compiler.is_exporting():
        dx: torch.Tensor = torch.ops.ddgan.adagn_grad(dy, x, scale, shift, groups, epsilon, activation)
        return dx
    return reference(dy, x, scale, shift, groups, epsilon, activation)


# AdaGN's body has InstanceNormalization, which does not tell the deviation. Selu's value at one is its gamma: so an
# attribute becomes a tensor for all readers of ONNX, as float constants in other forms do not.
_NORMALIZED = """
        x32 = Cast <to = 1> (x)
        group_count = Constant <value_int: int = @groups> ()
        zero = Constant <value_ints = [0]> ()
        group_dim = Unsqueeze (group_count, zero)
        rest_dim = Constant <value_ints = [-1]> ()
        grouped_shape = Concat <axis = 0> (zero, group_dim, rest_dim)
        grouped = Reshape (x32, grouped_shape)
        last_axis = Constant <value_ints = [2]> ()
        mean = ReduceMean <keepdims = 1> (grouped, last_axis)
        centred = Sub (grouped, mean)
        squares = Mul (centred, centred)
        variance = ReduceMean <keepdims = 1> (squares, last_axis)
        one = Constant <value = float {1.0}> ()
        epsilon32 = Selu <gamma: float = @epsilon> (one)
        widened = Add (variance, epsilon32)
        deviation = Sqrt (widened)
        z = Div (centred, deviation)
        x_shape = Shape (x)
        spatial_axes = Constant <value_ints = [2, 3]> ()
        dy32 = Cast <to = 1> (dy)
        scale32 = Cast <to = 1> (scale)
        scale_nchw = Unsqueeze (scale32, spatial_axes)
        scaled = Mul (dy32, scale_nchw)"""
_SILU = """
        z_nchw = Reshape (z, x_shape)
        shift32 = Cast <to = 1> (shift)
        shift_nchw = Unsqueeze (shift32, spatial_axes)
        product = Mul (z_nchw, scale_nchw)
        a = Add (product, shift_nchw)
        s = Sigmoid (a)
        rest_s = Sub (one, s)
        a_rest_s = Mul (a, rest_s)
        s_bend = Mul (s, a_rest_s)
        silu_slope = Add (s, s_bend)
        u_nchw = Mul (scaled, silu_slope)
        u = Reshape (u_nchw, grouped_shape)"""
_PROJECTED = """
        mean_u = ReduceMean <keepdims = 1> (u, last_axis)
        uz = Mul (u, z)
        mean_uz = ReduceMean <keepdims = 1> (uz, last_axis)
        along_z = Mul (z, mean_uz)
        centred_u = Sub (u, mean_u)
        projected = Sub (centred_u, along_z)
        dx_grouped = Div (projected, deviation)
        dx32 = Reshape (dx_grouped, x_shape)
        dx = CastLike (dx32, x)"""


def _spec(name: str, middle: str, flops: int) -> OpSpec:
    return OpSpec(
        name=name,
        inputs=(("dy", "T"), ("x", "T"), ("scale", "S"), ("shift", "S")),
        outputs=(("dx", "T"),),
        attributes={"groups": "INT", "epsilon": "FLOAT"},
        body=_NORMALIZED + middle + _PROJECTED,
        flops=flops,
        like="x",
    )


ADAGN_GRAD = _spec("AdaGNGrad", "\n        u = Reshape (scaled, grouped_shape)", 13)
ADAGN_SILU_GRAD = _spec("AdaGNSiluGrad", _SILU, 23)
SPECS = (ADAGN_GRAD, ADAGN_SILU_GRAD)
BY_ACTIVATION = dict(zip(adagn.ACTIVATIONS, SPECS, strict=True))
"""Activation of AdaGN -> the op that is its gradient."""
