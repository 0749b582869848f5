"""A sampler whose steps are one Loop, as the graph of any one step: that tells inner values, and starts from any state.

    out = Loop(state, body)    ->    body's nodes, with inputs `NUMBER` and `STATE`, the state that the step gets

What the body makes is no value of the graph around it. Its node ``step/Add`` is known by the names that it would have
in copies of the step: ``step0/Add``, ``step1/Add`` and so on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ddgan_deploy.artifact.subgraphs import body_of, trips_of

if TYPE_CHECKING:
    import onnx

NUMBER, STATE = "trip/number", "trip/state"
"""Inputs of the graph of one step, beside those of the sampler; no node of a step has such a name."""
_COPY = re.compile(r"step(\d+)/(.+)")


def node_names(graph: onnx.GraphProto) -> list[str]:
    """Of all nodes of a sampler, in running order."""
    names = []
    for node in graph.node:
        names.append(node.name)
        if node.op_type == "Loop":
            inner = [each.name.removeprefix("step/") for each in body_of(node).node]
            names += [f"step{k}/{name}" for k in range(trips_of(node, graph)) for name in inner]
    return names


def place_of(node: str, last: int) -> tuple[int, str]:
    """The trip in which a node is told, and its name in the graph of one step.

    Args:
        node: by its name in the sampler.
        last: the last trip, in which nodes outside the Loop are told.
    """
    match = _COPY.fullmatch(node)
    return (int(match[1]), f"step/{match[2]}") if match else (last, node)


@dataclass(frozen=True)
class StepGraph:
    """One step of a Loop.

    Attributes:
        model: takes what the sampler takes, `NUMBER`, int64 [], and `STATE`, float32 [batch, ...], of which the first
            step looks at the shape alone; gives what the sampler gives, right in the last step, and the next state.
        state: the name of the output that the next step starts from.
        maker: the node that makes it.
        trips: how many steps there are.
    """

    model: onnx.ModelProto
    state: str
    maker: str
    trips: int


def one_step(model: onnx.ModelProto) -> StepGraph | None:
    """The step of a sampler with one Loop; None where it has none.

    Args:
        model: without its weights; left as it is.
    """
    import onnx
    from onnx import helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    place, loop = next(((i, node) for i, node in enumerate(graph.node) if node.op_type == "Loop"), (0, None))
    if loop is None:
        return None
    trips, body = trips_of(loop, graph), body_of(loop)
    number, _, state = body.input
    made = body.output[1].name
    first = [
        helper.make_node("Equal", [NUMBER, "trip/zero"], ["trip/is_first"], "trip/is_first"),
        helper.make_node("Where", ["trip/is_first", loop.input[2], STATE], [state.name], "trip/starts"),
        helper.make_node("Identity", [NUMBER], [number.name], "trip/counts"),
    ]
    inner = [node for node in body.node if body.output[0].name not in node.output]
    last = [helper.make_node("Identity", [made], [loop.output[0]], "trip/ends")]
    nodes = [*graph.node[:place], *first, *inner, *last, *graph.node[place + 1 :]]
    zero = onnx.numpy_helper.from_array(np.array(0, np.int64), "trip/zero")
    given = [
        helper.make_tensor_value_info(NUMBER, onnx.TensorProto.INT64, ()),
        onnx.ValueInfoProto(name=STATE, type=state.type),
    ]
    initializers = [*graph.initializer, *body.initializer, zero]
    for field, values in (("node", nodes), ("initializer", initializers)):
        graph.ClearField(field)
        getattr(graph, field).extend(values)
    graph.input.extend(given)
    graph.output.add(name=made, type=state.type)
    maker = next(node.name for node in body.node if made in node.output)
    return StepGraph(copy, made, maker, trips)
