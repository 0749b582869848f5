"""The range that every value of a graph takes on real noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from ddgan_deploy.export.graph.loop import loops
from ddgan_deploy.export.precision.scratch_session import scratch_session
from ddgan_deploy.inputs import Inputs

_REDUCTIONS = ("ReduceMin", "ReduceMax")
_MOST_TRIPS = 8
"""Of a Loop: its steps differ by what time says alone, and hundreds of them would take hours where images are large."""


class Range(NamedTuple):
    """The smallest and the largest element that a tensor had."""

    low: float
    high: float

    @property
    def magnitude(self) -> float:
        """The largest absolute value."""
        return max(-self.low, self.high)


def activation_ranges(model: ir.Model, inputs: Inputs, scratch: Path) -> dict[str, Range]:
    """Runs a float32 sampler once, of a Loop the first trip, the last and some between, one after the other.

    Args:
        model: the sampler, left as it is.
        inputs: to run it on.
        scratch: a folder on a disk with room for the weights; left as it is.

    Returns:
        Value name -> range, for every float input and every float value between the nodes.
    """
    graph = model.graph.clone()
    values = [
        value for value in (*graph.inputs, *(output for node in graph for output in node.outputs)) if _is_float(value)
    ]
    # Reduced inside the graph: the values themselves would need gigabytes for large images.
    reductions = [_reduced(graph, value, op_type) for value in values for op_type in _REDUCTIONS]
    for loop, body in loops(graph):
        _take_fewer_trips(graph, loop, body)
        inner = [output for node in body for output in node.outputs if _is_float(output)]
        values += inner
        reductions += _of_all_trips(graph, loop, body, inner)
    graph.outputs[:] = reductions
    results = scratch_session(ir.Model(graph, ir_version=model.ir_version), scratch).run(None, dict(inputs))
    lows, highs = (map(float, results[first::2]) for first in (0, 1))
    names = (value.name or "" for value in values)
    return {name: Range(low, high) for name, low, high in zip(names, lows, highs, strict=True)}


def _is_float(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()


def _take_fewer_trips(graph: ir.Graph, loop: ir.Node, body: ir.Graph) -> None:
    """Each with the number that it has among all of them."""
    limit, number = loop.inputs[0], body.inputs[0]
    assert limit is not None and limit.const_value is not None
    trips = int(limit.const_value.numpy())
    if trips <= _MOST_TRIPS:
        return
    looked_at = np.linspace(0, trips - 1, _MOST_TRIPS).round().astype(np.int64)
    numbers, fewer = (
        ir.Value(name=f"{loop.name}/{name}", const_value=ir.tensor(each), type=number.type, shape=ir.Shape(each.shape))
        for name, each in (("looked_at", looked_at), ("fewer", np.array(_MOST_TRIPS)))
    )
    body.register_initializer(numbers)
    graph.register_initializer(fewer)
    loop.replace_input_with(0, fewer)
    readers = list(number.uses())
    gather = ir.node("Gather", [numbers, number], name=f"{loop.name}/number_among_all")
    (output,) = gather.outputs
    output.name, output.type, output.shape = gather.name, number.type, number.shape
    for node, position in readers:
        node.replace_input_with(position, output)
    body.insert_before(body[0], gather)


def _of_all_trips(graph: ir.Graph, loop: ir.Node, body: ir.Graph, values: Sequence[ir.Value]) -> list[ir.Value]:
    """The smallest and the largest element that each value inside a Loop has in any trip."""
    found = []
    for value in values:
        for op_type in _REDUCTIONS:
            body.outputs.append(_reduced(body, value, op_type))
            loop.resize_outputs(len(loop.outputs) + 1)
            trips = loop.outputs[-1]
            trips.name, trips.type = f"{value.name}/{op_type}/trips", ir.TensorType(ir.DataType.FLOAT)
            found.append(_reduced(graph, trips, op_type))
    return found


def _reduced(graph: ir.Graph, value: ir.Value, op_type: str) -> ir.Value:
    node = ir.node(op_type, [value], {"keepdims": 0}, name=f"{value.name}/{op_type}")
    (output,) = node.outputs
    output.name, output.type, output.shape = node.name, ir.TensorType(ir.DataType.FLOAT), ir.Shape(())
    graph.append(node)
    return output
