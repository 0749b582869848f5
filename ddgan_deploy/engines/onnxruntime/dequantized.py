"""The weights of an int8 artifact's convolutions as float32, where the CPU engine does not compute with integers.

Conv(x, DequantizeLinear(w, s)) becomes Conv(x, w'), with w' made once: ONNX Runtime would make it at every run. Inputs
are still rounded, so that the convolution gives what integers would give, up to float32's own rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.subgraphs import with_bodies
from ddgan_deploy.engines.onnxruntime.graph import Rewriting, Values, drop_unread
from ddgan_deploy.engines.onnxruntime.weights import Weights

if TYPE_CHECKING:
    import onnx


def dequantize_weights(model: onnx.ModelProto, weights: Weights) -> int:
    """Rewrites the model's graph and the bodies of its Loops in place; returns the number of convolutions."""
    graphs = list(with_bodies(model.graph))
    # Most models have none, and to look around them takes time whenever one is opened.
    if all(node.op_type != "DequantizeLinear" for graph in graphs for node in graph.node):
        return 0
    values = Values.of(model, {})
    made: dict[str, str] = {}
    count = 0
    for graph in graphs:
        rewriting = Rewriting(graph, values)
        for conv in graph.node:
            dequantize = rewriting.made_by(conv.input[1], "DequantizeLinear") if conv.op_type == "Conv" else None
            if dequantize is None or not _is_constant(dequantize, values):
                continue
            if conv.input[1] not in made:
                made[conv.input[1]] = weights.add(f"{conv.input[1]}/float32", _dequantized(dequantize, values, weights))
            conv.input[1] = made[conv.input[1]]
            count += 1
    if count:
        drop_unread(model)
    return count


def _is_constant(node: onnx.NodeProto, values: Values) -> bool:
    """Whether all that a node reads is, with one scale or one an index of an axis."""
    tensors = [values.initializers.get(name) for name in node.input]
    return None not in tensors and len(values.initializers[node.input[1]].dims) <= 1


def _dequantized(node: onnx.NodeProto, values: Values, weights: Weights) -> npt.NDArray[np.float32]:
    tensor, scale, *zero = (weights.read(values.initializers[name]) for name in node.input)
    axis = {attribute.name: attribute.i for attribute in node.attribute}.get("axis", 1) % tensor.ndim
    spread = [-1 if dimension == axis else 1 for dimension in range(tensor.ndim)] if scale.size > 1 else []
    integers = tensor.astype(np.float32)
    if zero:
        integers -= zero[0].astype(np.float32).reshape(spread)
    return integers * scale.astype(np.float32).reshape(spread)
