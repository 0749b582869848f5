"""AdaGN and AdaGNSilu in OpenVINO's operations, for its reader of ONNX files; the mathematics stands in `spec`.

OpenVINO's convolutions leave channels last, its GroupNormalization and its MVN over [N, groups, rest] want them first:
each norm would cost a copy of its input to the other layout and one back. So the statistics of groups are
made from those of channels, which need no other layout. With m_c and v_c the mean and the variance of channel c,

    mean_g = mean_c(m_c),    var_g = mean_c(v_c + (m_c - mean_g)^2)
    y = act((x - m_c) a_c + b_c),    a_c = scale_c / sqrt(var_g + epsilon),    b_c = shift_c + (m_c - mean_g) a_c

OpenVINO chooses a fused operation's layout by majority of its inputs; x and m_c have channels last, a_c and b_c do not.
That is why x - m_c stays: as one factor and one summand, x would be outvoted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import Node, Type
from openvino import opset13 as op


def convert(node: Any) -> list[Any]:
    """The outputs that stand for an AdaGN node; in older files its attribute ``activation`` may be "silu".

    Args:
        node: ``openvino.frontend.NodeContext``.
    """
    return _convert(node, node.get_attribute("activation", "none") == "silu")


def convert_silu(node: Any) -> list[Any]:
    """The outputs that stand for an AdaGNSilu node."""
    return _convert(node, True)


def _convert(node: Any, silu: bool) -> list[Any]:
    x, scale, shift = (op.convert(node.get_input(index), Type.f32) for index in range(3))
    # Made once a norm: every node more is time at loading.
    pixels, last = _integers(2, 3), _integers(2)
    by_group, by_channel = _integers(0, node.get_attribute("groups"), -1), _integers(0, -1, 1, 1)
    mean = op.reduce_mean(x, pixels, keep_dims=True)
    variance = op.reduce_mean(op.squared_difference(x, mean), pixels, keep_dims=True)

    means, variances, scales, shifts = (
        op.reshape(value, by_group, special_zero=True) for value in (mean, variance, scale, shift)
    )
    centred = op.subtract(means, op.reduce_mean(means, last, keep_dims=True))
    variance = op.reduce_mean(op.add(variances, op.multiply(centred, centred)), last, keep_dims=True)
    epsilon = op.constant(np.float32(node.get_attribute("epsilon")))
    factor = op.divide(scales, op.sqrt(op.add(variance, epsilon)))
    summand = op.add(op.multiply(centred, factor), shifts)

    y = op.multiply(op.subtract(x, mean), op.reshape(factor, by_channel, special_zero=True))
    y = op.add(y, op.reshape(summand, by_channel, special_zero=True))
    if silu:
        y = op.swish(y)
    return list(op.convert_like(y, node.get_input(0)).outputs())


def _integers(*values: int) -> Node:
    """Axes; or a shape, in which 0 is an extent as it was, and -1 what is left."""
    return op.constant(np.array(values, np.int64))


CONVERTERS = {"AdaGN": convert, "AdaGNSilu": convert_silu}
