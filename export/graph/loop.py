"""ONNX's Loop: a graph that runs a number of times, and what walks graphs that may have one.

trips times:  (number, state)  ->  (the next state, a row);  out come the last state and all rows, side by side
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from ddgan_deploy.export.graph.builder import FLOAT32, GraphBuilder, graph_input, maker

LOOP = "Loop"


class State(NamedTuple):
    """What is handed from trip to trip.

    Attributes:
        first: what the first trip gets.
        got: what every trip gets, an input of the body.
        made: what every trip makes.
    """

    first: ir.Value
    got: ir.Value
    made: ir.Value


class Body(GraphBuilder):
    """A Loop's body in the making, with initializers of its own.

    Of those of the graph around it ONNX Runtime does not know in the body that they are constant, and neither folds
    them nor orders weights as its kernels want them.

    Attributes:
        name: of the Loop.
        number: the trip, from 0 on, int64 [].
    """

    def __init__(self, name: str, prefix: str) -> None:
        super().__init__(prefix)
        self.name = name
        self.number = graph_input(f"{name}/number", (), ir.DataType.INT64)


def add_loop(
    build: GraphBuilder, trips: int, body: Body, states: Sequence[State] = (), rows: Sequence[ir.Value] = ()
) -> list[ir.Value]:
    """Adds a Loop node.

    Args:
        build: of the graph that gets it.
        trips: how often the body runs.
        body: with all of its nodes.
        states: what is handed from trip to trip, float32 whatever the graph's precision is.
        rows: what every trip makes beside.

    Returns:
        The last states, then all rows, the trips first.
    """
    name = body.name
    condition = graph_input(f"{name}/condition", (), ir.DataType.BOOL)
    goes_on = body.op("Identity", [condition], name="goes_on", dtype=ir.DataType.BOOL)
    graph = ir.Graph(
        [body.number, condition, *(state.got for state in states)],
        [goes_on, *(state.made for state in states), *rows],
        nodes=body.nodes,
        initializers=body.initializers,
        name=name,
    )
    limits = [build.constant(f"{name}/trips", np.int64(trips)), build.constant(f"{name}/starts", np.True_)]
    inputs = [*limits, *(state.first for state in states)]
    values = [state.first for state in states]
    outputs = [ir.Value(name=f"{name}/{i}", type=value.type, shape=value.shape) for i, value in enumerate(values)]
    outputs += [ir.Value(name=f"{name}/{i + len(outputs)}", type=value.type) for i, value in enumerate(rows)]
    build.node(LOOP, inputs, {"body": graph}, outputs, name)
    maker(outputs[0]).meta[FLOAT32] = True
    for state in states:
        maker(state.made).meta[FLOAT32] = True
        state.made.shape = state.got.shape
    return outputs


def loops(graph: ir.Graph) -> Iterator[tuple[ir.Node, ir.Graph]]:
    """Every Loop of a graph, with its body; none lies within another."""
    for node in graph:
        if node.op_type == LOOP and node.domain == "":
            yield node, node.attributes["body"].as_graph()


def around(graph: ir.Graph) -> dict[ir.Graph, ir.Node]:
    """The bodies of a graph's Loops -> the Loop."""
    return {body: node for node, body in loops(graph)}
