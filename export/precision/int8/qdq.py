"""int8 in the graph, as runtimes know it.

    Conv(x, w, b)  ->  Conv(DequantizeLinear(QuantizeLinear(x, s_x, z_x)), DequantizeLinear(w_q, s_w), b)

A tensor x has one scale s_x and one zero point z_x, so that each step has its own; its 256 levels span the range that
it was measured in. That takes uint8. TensorRT knows no zero point but zero: for it x is int8, and its levels span
[-max|x|, max|x|], of which an activation after SiLU uses little more than half. Weights are int8 with one scale an
output channel, s_w = max|w| / 127, and stored once for all steps.

What is not a quantized product stays float: a runtime joins the pairs and the product to one integer kernel, and
where it has none the pairs round in float what the kernel would round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ddgan_deploy.export.graph.trace import LAYER
from ddgan_deploy.export.precision.int8.layers import Layer, quantizes_input, weight_of
from ddgan_deploy.export.precision.ranges import Range

_LARGEST = 127
"""Of int8; -128 is not used, so that a value and its negative round alike."""
_LEVELS = 255
"""Steps between those of uint8."""


def quantize_layers(
    graph: ir.Graph, layers: Iterable[Layer], ranges: Mapping[str, Range], symmetric: bool = False
) -> None:
    """Rewrites layers of a float32 graph in place.

    Args:
        graph: the unrolled sampler.
        layers: what becomes int8.
        ranges: of every value, from `activation_ranges`.
        symmetric: whether every zero point is zero.
    """
    rounded: dict[ir.Value, ir.Value] = {}
    chosen = {node for layer in layers for node in layer.nodes}
    for node in list(graph):
        if node not in chosen:
            continue
        x, weight = node.inputs[0], weight_of(node)
        assert x is not None
        if weight not in rounded:
            rounded[weight] = _rounded_weight(graph, node, weight)
        node.replace_input_with(1, rounded[weight])
        if not quantizes_input(node):
            continue
        if x not in rounded:
            pair = quantize_dequantize(graph, x, x.name or "", ranges[x.name or ""], symmetric)
            graph.insert_before(node, _with_layer(pair, node))
            rounded[x] = pair[-1].outputs[0]
        node.replace_input_with(0, rounded[x])


def quantize_dequantize(graph: ir.Graph, x: ir.Value, name: str, measured: Range, symmetric: bool) -> list[ir.Node]:
    """The pair that rounds a tensor to 8 bits and back to float32, not yet in the graph; its constants are.

    Args:
        graph: where its constants go.
        x: the tensor.
        name: what those and the pair's names begin with.
        measured: the tensor's range.
        symmetric: whether the zero point is zero.
    """
    scale, zero = (
        register(graph, f"{name}/{constant}", value)
        for constant, value in zip(("scale", "zero"), scale_and_zero(measured, symmetric), strict=True)
    )
    assert zero.dtype is not None
    quantize = ir.node("QuantizeLinear", [x, scale, zero], name=f"{name}/QuantizeLinear")
    named(quantize, zero.dtype, x.shape)
    dequantize = ir.node("DequantizeLinear", [quantize.outputs[0], scale, zero], name=f"{name}/DequantizeLinear")
    named(dequantize, ir.DataType.FLOAT, x.shape)
    return [quantize, dequantize]


def scale_and_zero(measured: Range, symmetric: bool) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8 | np.uint8]]:
    """s_x, float32, and z_x, int8 or uint8, of a tensor; zero itself is one of its levels, for padding."""
    if symmetric:
        return np.array(measured.magnitude / _LARGEST or 1, np.float32), np.array(0, np.int8)
    low, high = min(measured.low, 0.0), max(measured.high, 0.0)
    scale = (high - low) / _LEVELS or 1
    return np.array(scale, np.float32), np.array(round(-low / scale), np.uint8)


def round_weight(node: ir.Node) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32], int]:
    """w_q, s_w [output channels] and the axis of these, from float32 weights.

    Convolutions have their output channels first [O, I, kH, kW], matrix products last [I, O].
    """
    tensor = weight_of(node).const_value
    assert tensor is not None
    weight, axis = tensor.numpy(), 0 if node.op_type == "Conv" else 1
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = (np.abs(weight).max(axis=others) / _LARGEST).astype(np.float32)
    scale[scale == 0] = 1
    rounded = np.rint(weight / np.expand_dims(scale, others))
    return np.clip(rounded, -_LARGEST, _LARGEST).astype(np.int8), scale, axis


def register(graph: ir.Graph, name: str, value: npt.NDArray[np.generic]) -> ir.Value:
    """A constant of a graph."""
    tensor = ir.tensor(value, name=name)
    shape, dtype = ir.Shape(value.shape), ir.TensorType(tensor.dtype)
    constant = ir.Value(name=name, const_value=tensor, shape=shape, type=dtype)
    graph.register_initializer(constant)
    return constant


def named(node: ir.Node, dtype: ir.DataType, shape: ir.Shape | None = None) -> ir.Value:
    """A node's one output, named after it."""
    (output,) = node.outputs
    output.name, output.type, output.shape = node.name, ir.TensorType(dtype), shape
    return output


def _rounded_weight(graph: ir.Graph, node: ir.Node, weight: ir.Value) -> ir.Value:
    """The weight from int8, dequantized before the first node that has it."""
    integers, scales, axis = round_weight(node)
    inputs = [register(graph, f"{weight.name}.int8", integers), register(graph, f"{weight.name}.scale", scales)]
    dequantize = ir.node("DequantizeLinear", inputs, {"axis": axis}, name=f"{weight.name}/DequantizeLinear")
    graph.insert_before(node, _with_layer([dequantize], node))
    return named(dequantize, ir.DataType.FLOAT, weight.shape)


def _with_layer(nodes: list[ir.Node], of: ir.Node) -> list[ir.Node]:
    for node in nodes:
        node.metadata_props[LAYER] = of.metadata_props.get(LAYER, "")
    return nodes
