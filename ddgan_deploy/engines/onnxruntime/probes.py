"""A sampler's graph that tells inner values, and whose steps start from given states, so that each shows its own error.

Nodes are known by their names; the values between them have numbers in a file, which another export may give anew.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def probed(model: onnx.ModelProto, nodes: Sequence[str], states: Collection[str] = ()) -> onnx.ModelProto:
    """A copy of the model with more outputs and inputs.

    Args:
        model: a sampler's, without its weights.
        nodes: whose first outputs become outputs, under the nodes' names, as far as they are none yet.
        states: whose first outputs are inputs for what reads them, named by `state_name`.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    made = {node.name: node.output[0] for node in graph.node}
    _take_states(graph, {made[name]: state_name(name) for name in states})
    outputs = {value.name for value in graph.output}
    for name in dict.fromkeys(nodes):
        if name not in outputs:
            graph.node.add(op_type="Identity", input=[made[name]], output=[name], name=f"probe/{name}")
            # Without a type ONNX Runtime infers it.
            graph.output.append(onnx.ValueInfoProto(name=name))
    return copy


def state_name(node: str) -> str:
    """Name of the input that stands for what a node makes."""
    return f"state/{node}"


def _take_states(graph: onnx.GraphProto, given: dict[str, str]) -> None:
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = given.get(name, name)
    x_0 = graph.output[0]
    for name in given.values():
        state = graph.input.add()
        # A state is an image, as what comes of it.
        state.CopyFrom(x_0)
        state.name = name
