"""AdaGNGrad and AdaGNSiluGrad in OpenVINO's operations; the mathematics stands in `spec`.

As in `adagn.ov_op` the means of groups are made from those of channels, for the sake of the memory layout. With
m_c the mean of channel c, d = x - m_c, g_c = m_c - mean_g, and v = r u,

    v = dy a_c act'(d a_c + b_c),    a_c = scale_c r,    b_c = shift_c + g_c a_c
    dx = v - (d k_g + o_c),    k_g = r^2 mean_c(mean(v d) + g_c mean(v)),    o_c = mean_c(mean(v)) + g_c k_g
"""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import Node, Type
from openvino import opset13 as op


def convert(node: Any) -> list[Any]:
    """The outputs that stand for an AdaGNGrad node.

    Args:
        node: ``openvino.frontend.NodeContext``.
    """
    return _convert(node, False)


def convert_silu(node: Any) -> list[Any]:
    """The outputs that stand for an AdaGNSiluGrad node."""
    return _convert(node, True)


def _convert(node: Any, silu: bool) -> list[Any]:
    dy, x, scale, shift = (op.convert(node.get_input(index), Type.f32) for index in range(4))
    pixels, last = _integers(2, 3), _integers(2)
    by_group, by_channel = _integers(0, node.get_attribute("groups"), -1), _integers(0, -1, 1, 1)

    def grouped(value: Node) -> Node:
        return op.reshape(value, by_group, special_zero=True)

    def spread(value: Node) -> Node:
        return op.reshape(value, by_channel, special_zero=True)

    def group_mean(value: Node) -> Node:
        return op.reduce_mean(value, last, keep_dims=True)

    mean = op.reduce_mean(x, pixels, keep_dims=True)
    distance = op.subtract(x, mean)
    within = op.reduce_mean(op.multiply(distance, distance), pixels, keep_dims=True)
    means = grouped(mean)
    centred = op.subtract(means, group_mean(means))
    variance = group_mean(op.add(grouped(within), op.multiply(centred, centred)))
    widened = op.add(variance, op.constant(np.float32(node.get_attribute("epsilon"))))
    factor = op.divide(grouped(scale), op.sqrt(widened))

    v = op.multiply(dy, spread(factor))
    if silu:
        summand = op.add(op.multiply(centred, factor), grouped(shift))
        a = op.add(op.multiply(distance, spread(factor)), spread(summand))
        s = op.sigmoid(a)
        bend = op.multiply(op.multiply(a, s), op.subtract(op.constant(np.float32(1)), s))
        v = op.multiply(v, op.add(s, bend))
    mean_v = grouped(op.reduce_mean(v, pixels, keep_dims=True))
    mean_vd = grouped(op.reduce_mean(op.multiply(v, distance), pixels, keep_dims=True))
    slope = op.divide(group_mean(op.add(mean_vd, op.multiply(centred, mean_v))), widened)
    offset = op.add(group_mean(mean_v), op.multiply(centred, slope))
    slopes = op.broadcast(slope, op.shape_of(means))
    along = op.add(op.multiply(distance, spread(slopes)), spread(offset))
    return list(op.convert_like(op.subtract(v, along), node.get_input(1)).outputs())


def _integers(*values: int) -> Node:
    """Axes; or a shape, in which 0 is an extent as it was, and -1 what is left."""
    return op.constant(np.array(values, np.int64))


CONVERTERS = {"AdaGNGrad": convert, "AdaGNSiluGrad": convert_silu}
