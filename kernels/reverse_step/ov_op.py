"""ReverseStep and ReverseMean in OpenVINO's operations, for its reader of ONNX files; the mathematics is in `spec`."""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import Type
from openvino import opset13 as op

_COUNT = 7


def convert_step(node: Any) -> list[Any]:
    """The outputs that stand for a ReverseStep node.

    Args:
        node: ``openvino.frontend.NodeContext``.
    """
    *_, s = _coefficients(node, 3)
    noise = op.multiply(s, node.get_input(2))
    return list(op.add(_mean(node, 3), noise).outputs())


def convert_mean(node: Any) -> list[Any]:
    """The outputs that stand for a ReverseMean node."""
    return list(_mean(node, 2).outputs())


def _coefficients(node: Any, index: int) -> list[Any]:
    return list(op.split(node.get_input(index), op.constant(np.int64(0)), _COUNT).outputs())


def _mean(node: Any, index: int) -> Any:
    out, x = op.convert(node.get_input(0), Type.f32), node.get_input(1)
    c0, a, b, lo, hi, ct, _ = _coefficients(node, index)
    x_0 = op.add(op.multiply(a, out), op.multiply(b, x))
    # OpenVINO's Clamp, Minimum and Maximum hide nan, and so does its Greater, which holds for nan.
    x_0 = op.select(op.less(x_0, lo), lo, x_0)
    x_0 = op.select(op.less(hi, x_0), hi, x_0)
    return op.add(op.multiply(c0, x_0), op.multiply(ct, x))


CONVERTERS = {"ReverseStep": convert_step, "ReverseMean": convert_mean}
