"""float16 -> float32, of a graph that the CPU engine opens.

A CPU has no float16 products that are faster than its float32 ones: ONNX Runtime would cast before and after every
node. The weights stay float16 in the file; in memory they are what they are in an artifact of float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ddgan_deploy.artifact.subgraphs import with_bodies
from ddgan_deploy.engines.onnxruntime.weights import Weights

if TYPE_CHECKING:
    import onnx

_TYPES = ("to", "dtype")
"""Attributes that name the type of what a node makes."""


def widen(model: onnx.ModelProto, weights: Weights) -> int:
    """Rewrites a model in place that takes and gives no float16; returns the number of tensors that were float16.

    Functions of our ops stay as they are: the native library has the ops themselves.
    """
    from onnx import TensorProto

    half, full = TensorProto.FLOAT16, TensorProto.FLOAT
    ends = [*model.graph.input, *model.graph.output]
    if any(value.type.tensor_type.elem_type == half for value in ends):
        return 0
    count = 0
    for graph in list(with_bodies(model.graph)):
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type == half:
                value.type.tensor_type.elem_type = full
        for node in graph.node:
            _widen_attributes(node)
        tensors = [tensor for tensor in graph.initializer if tensor.data_type == half]
        others = [tensor for tensor in graph.initializer if tensor.data_type != half]
        del graph.initializer[:]
        graph.initializer.extend(others)
        for tensor in tensors:
            weights.add(tensor.name, weights.read(tensor).astype(np.float32))
        count += len(tensors)
    return count


def _widen_attributes(node: onnx.NodeProto) -> None:
    from onnx import TensorProto, numpy_helper

    for attribute in node.attribute:
        if attribute.name in _TYPES and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT
        elif attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(attribute.t).astype(np.float32)
            attribute.t.CopyFrom(numpy_helper.from_array(values, attribute.t.name))
