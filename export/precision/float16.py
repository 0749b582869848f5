"""Where fp16 ends and fp32 begins.

Convolutions, products and activations are fp16. What a family says is fp32, such as states, noise, statistics and
what is made of them, stays so, and so do x_0, the pixels and the statistics inside AdaGN. A layer whose weights or
activations fp16 cannot hold stays fp32 at every step.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from ddgan_deploy.artifact.results import KeptLayer
from ddgan_deploy.export.graph.builder import ANY_FLOAT, FLOAT32
from ddgan_deploy.export.graph.loop import around
from ddgan_deploy.export.graph.trace import LAYER
from ddgan_deploy.export.precision.ranges import Range
from ddgan_deploy.kernels import op as ops
from ddgan_deploy.kernels.ops import specs

FLOAT16_MAX = 65504.0
HEADROOM = 4.0
"""Other seeds reach higher than those that were measured."""
MAX_ROUNDING = 0.01
"""Largest relative error of a weight tensor: fp16 rounds by 3e-4, and by far more among its subnormals."""
_OWN_TYPE = {"Resize": (1, 2)}
"""Inputs, by position, whose type does not follow the node's: roi and scales."""


def to_float16(
    model: ir.Model, ranges: Mapping[str, Range], kept_too: Sequence[KeptLayer] = ()
) -> tuple[KeptLayer, ...]:
    """Converts a float32 sampler in place; its inputs and outputs stay float32.

    Args:
        model: the sampler.
        ranges: of every value, from `activation_ranges`.
        kept_too: layers that stay in fp32 whatever their weights and activations are.

    Returns:
        The layers that stayed in fp32 against the rule, and why.
    """
    graph = model.graph
    kept = {layer.layer: layer.reason for layer in kept_too} | _kept_layers(graph, ranges)
    half = {node for node in graph.all_nodes() if not _always_fp32(node) and layer_of(node) not in kept}
    for node in half:
        for output in node.outputs:
            if output.dtype == ir.DataType.FLOAT:
                output.type = ir.TensorType(ir.DataType.FLOAT16)
    _convert_inputs(graph, half)
    return tuple(KeptLayer(layer, reason) for layer, reason in kept.items())


def layer_of(node: ir.Node) -> str:
    """The module a node belongs to, the same at every step."""
    return node.metadata_props.get(LAYER, node.name or "")


def _always_fp32(node: ir.Node) -> bool:
    return bool(node.meta.get(FLOAT32))


def _kept_layers(graph: ir.Graph, ranges: Mapping[str, Range]) -> dict[str, str]:
    """Layer -> why fp16 cannot hold it."""
    kept: dict[str, str] = {}
    reasons: dict[ir.Value, str] = {}
    for node in graph.all_nodes():
        if _always_fp32(node):
            continue
        own_type = _own_type(node)
        followed = [value for position, value in enumerate(node.inputs) if position not in own_type]
        for value in (*followed, *node.outputs):
            if value is None or value.dtype != ir.DataType.FLOAT:
                continue
            if value not in reasons:
                reasons[value] = (
                    _weight_problem(value) if value.const_value is not None else _range_problem(value, ranges)
                )
            if reasons[value]:
                kept.setdefault(layer_of(node), reasons[value])
    return kept


def _own_type(node: ir.Node) -> Collection[int]:
    """The inputs, by position, whose type does not follow the node's."""
    if node.domain != ops.DOMAIN:
        return _OWN_TYPE.get(node.op_type, ())
    spec = specs()[node.op_type]
    return [position for position, (name, _) in enumerate(spec.inputs) if name in spec.float32]


def _weight_problem(value: ir.Value) -> str:
    assert value.const_value is not None
    weight = value.const_value.numpy()
    largest = float(np.abs(weight).max(initial=0))
    if largest > FLOAT16_MAX:
        return f"the weight {value.name} reaches {largest:.3g}, fp16 ends at {FLOAT16_MAX:.0f}"
    norm = float(np.linalg.norm(weight.astype(np.float64)))
    error = float(np.linalg.norm(weight.astype(np.float16).astype(np.float64) - weight))
    if error > MAX_ROUNDING * norm:
        return f"the weight {value.name} of at most {largest:.3g} loses {error / norm:.0%} in fp16"
    return ""


def _range_problem(value: ir.Value, ranges: Mapping[str, Range]) -> str:
    largest = ranges[value.name].magnitude if value.name and value.name in ranges else 0.0
    if largest <= FLOAT16_MAX / HEADROOM:
        return ""
    producer = value.producer()
    source = f"the output of {producer.name}" if producer else f"the input {value.name}"
    return f"{source} reaches {largest:.3g}, fp16 ends at {FLOAT16_MAX:.0f} and other seeds may reach higher"


def _convert_inputs(graph: ir.Graph, half: set[ir.Node]) -> None:
    """Gives every node its inputs in its own precision: weights converted, values cast once."""
    converted: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
    tensors: dict[tuple[int, ir.DataType], ir.TensorProtocol] = {}
    loop_of = around(graph)
    for node in list(graph.all_nodes()):
        if node.meta.get(ANY_FLOAT):
            continue
        wanted = ir.DataType.FLOAT16 if node in half else ir.DataType.FLOAT
        own_type = _own_type(node)
        for position, value in enumerate(node.inputs):
            if value is None or value.dtype in (wanted, None) or not value.dtype.is_floating_point():
                continue
            if position in own_type:
                continue
            if (value, wanted) not in converted:
                home, before = value.graph, node
                if home is not node.graph:
                    # Outside the Loop, once for all of its trips.
                    assert isinstance(node.graph, ir.Graph)
                    before = loop_of[node.graph]
                assert isinstance(home, ir.Graph)
                tensor = value.const_value
                if tensor is None:
                    converted[value, wanted] = _cast(home, value, wanted, before)
                else:
                    # What two values have in common is stored once.
                    key = id(tensor), wanted
                    tensors[key] = tensors.get(key) or ir.tensor(tensor.numpy().astype(wanted.numpy()))
                    converted[value, wanted] = _weight(home, value, tensors[key])
            node.replace_input_with(position, converted[value, wanted])


def _weight(graph: ir.Graph, value: ir.Value, tensor: ir.TensorProtocol) -> ir.Value:
    weight = ir.Value(
        name=f"{value.name}.fp16", const_value=tensor, shape=value.shape, type=ir.TensorType(tensor.dtype)
    )
    graph.register_initializer(weight)
    return weight


def _cast(graph: ir.Graph, value: ir.Value, dtype: ir.DataType, before: ir.Node) -> ir.Value:
    short = "fp16" if dtype == ir.DataType.FLOAT16 else "fp32"
    node = ir.node("Cast", [value], {"to": dtype}, name=f"{value.name}/{short}")
    output = node.outputs[0]
    output.name, output.type, output.shape = node.name, ir.TensorType(dtype), value.shape
    graph.insert_before(before, [node])
    return output
