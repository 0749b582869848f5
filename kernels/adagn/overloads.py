"""AdaGN as the exporter writes it so far, and as older files hold it: the activation an attribute, a body for each.

It goes as soon as the exporter writes `spec.ADAGN` and `spec.ADAGN_SILU`. What reads older files stays elsewhere: the
native library's AdaGN and OpenVINO's converter go by the attribute where a node has one.
"""

from __future__ import annotations

from ..op import OpSpec


def _body(activation: str) -> str:
    # InstanceNormalization over [N, groups, rest] is the group statistics in one standard
    # op, which every runtime has; ones and zeros stand in for its own affine map. The zero
    # in Reshape's shape stands for x's own first size, so that the shape is a constant.
    body = """
        x32 = Cast <to = 1> (x)
        group_count = Constant <value_int: int = @groups> ()
        zero = Constant <value_ints = [0]> ()
        group_dim = Unsqueeze (group_count, zero)
        rest_dim = Constant <value_ints = [-1]> ()
        grouped_shape = Concat <axis = 0> (zero, group_dim, rest_dim)
        grouped = Reshape (x32, grouped_shape)
        one = Constant <value_float = 1.0> ()
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
    if activation == "silu":
        return (
            body
            + """
        gate = Sigmoid (affine)
        activated = Mul (affine, gate)
        y = CastLike (activated, x)"""
        )
    return body + "\n        y = CastLike (affine, x)"


SPEC = OpSpec(
    name="AdaGN",
    inputs=(("x", "T"), ("scale", "S"), ("shift", "S")),
    outputs=(("y", "T"),),
    attributes={"groups": "INT", "epsilon": "FLOAT", "activation": "STRING"},
    flops=lambda attributes: 10 if attributes["activation"] == "silu" else 6,
    like="x",
    variant="activation",
    variants={activation: _body(activation) for activation in ("none", "silu")},
)
