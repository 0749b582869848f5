"""AdaGN in OpenVINO's operations, for its reader of ONNX files; the mathematics stands in `spec`.

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

PIXELS = np.array([2, 3], np.int64)


def convert(node: Any) -> list[Any]:
    """The outputs that stand for an AdaGN node.

    Args:
        node: ``openvino.frontend.NodeContext``.
    """
    x, scale, shift = (op.convert(node.get_input(index), Type.f32) for index in range(3))
    mean = op.reduce_mean(x, op.constant(PIXELS), keep_dims=True)
    variance = op.reduce_mean(op.squared_difference(x, mean), op.constant(PIXELS), keep_dims=True)

    channels, variances, scales, shifts = (
        _reshaped(value, [0, node.get_attribute("groups"), -1]) for value in (mean, variance, scale, shift)
    )
    centred = op.subtract(channels, _mean_of_groups(channels))
    variance = _mean_of_groups(op.add(variances, op.multiply(centred, centred)))
    epsilon = op.constant(np.float32(node.get_attribute("epsilon")))
    factor = op.multiply(scales, op.power(op.add(variance, epsilon), op.constant(np.float32(-0.5))))
    summand = op.add(op.multiply(centred, factor), shifts)

    y = op.multiply(op.subtract(x, mean), _reshaped(factor, [0, -1, 1, 1]))
    y = op.add(y, _reshaped(summand, [0, -1, 1, 1]))
    if node.get_attribute("activation") == "silu":
        y = op.swish(y)
    return list(op.convert_like(y, node.get_input(0)).outputs())


def _reshaped(value: Node, shape: list[int]) -> Node:
    """``value`` in a shape whose 0 is the dimension as it was, and -1 what is left."""
    return op.reshape(value, op.constant(np.array(shape, np.int64)), special_zero=True)


def _mean_of_groups(value: Node) -> Node:
    """[N, groups, channels a group] -> [N, groups, 1]."""
    return op.reduce_mean(value, op.constant(np.array([2], np.int64)), keep_dims=True)
