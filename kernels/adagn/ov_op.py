"""AdaGN in OpenVINO's operations, for its reader of ONNX files; the mathematics stands in `spec`.

OpenVINO has a GroupNormalization of its own, which it takes apart at run time into shapes and copies; MVN over
[N, groups, rest] is one kernel, and the affine map and Swish become one more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import Type
from openvino import opset13 as op


def convert(node: Any) -> list[Any]:
    """The outputs that stand for an AdaGN node.

    Args:
        node: ``openvino.frontend.NodeContext``.
    """
    x, scale, shift = (op.convert(node.get_input(index), Type.f32) for index in range(3))
    last = op.constant(np.array([2], np.int64))
    grouped = op.reshape(x, op.constant(np.array([0, node.get_attribute("groups"), -1], np.int64)), special_zero=True)
    epsilon = float(node.get_attribute("epsilon"))
    normalized = op.mvn(grouped, last, normalize_variance=True, eps=epsilon, eps_mode="inside_sqrt")
    y = op.reshape(normalized, op.shape_of(x), special_zero=False)
    pixels = op.constant(np.array([2, 3], np.int64))
    y = op.add(op.multiply(y, op.unsqueeze(scale, pixels)), op.unsqueeze(shift, pixels))
    if node.get_attribute("activation") == "silu":
        y = op.swish(y)
    return list(op.convert_like(y, node.get_input(0)).outputs())
