"""StyleLrelu in OpenVINO's operations, for its reader of ONNX files; the mathematics is in `spec`."""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import Type
from openvino import opset13 as op


def convert(node: Any) -> list[Any]:
    """The outputs that stand for a StyleLrelu node.

    Args:
        node: ``openvino.frontend.NodeContext``.
    """
    x, scale, noise, bias, limit = (node.get_input(i) for i in range(5))
    spatial, pixel = (op.constant(np.array(axes, np.int64)) for axes in ([2, 3], [1, 2]))
    scaled = op.multiply(op.convert(x, Type.f32), op.unsqueeze(scale, spatial))
    v = op.add(op.add(scaled, noise), op.unsqueeze(bias, pixel))
    slope = op.constant(np.float32(node.get_attribute("alpha")))
    y = op.select(op.less(v, op.constant(np.float32(0))), op.multiply(v, slope), v)
    # Not by Minimum and Maximum, which hide nan.
    least = op.negative(limit)
    y = op.select(op.less(y, least), least, y)
    y = op.select(op.less(limit, y), limit, y)
    return list(op.convert_like(y, x).outputs())


CONVERTERS = {"StyleLrelu": convert}
