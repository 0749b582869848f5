"""A sampler's graph whose steps start from given states, so that each shows its own error alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def take_states(graph: onnx.GraphProto) -> None:
    """Makes the state that every step but the first starts from an input, `state_name`; the outputs stay."""
    made = (node.output[0] for node in graph.node if node.op_type == "PosteriorSample")
    given = {name: state_name(k) for k, name in enumerate(made)}
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = given.get(name, name)
    (x_T,) = (value for value in graph.input if value.name == "x_T")
    for name in given.values():
        state = graph.input.add()
        state.CopyFrom(x_T)
        state.name = name


def state_name(step: int) -> str:
    """Name of the input that stands for what the k-th step makes."""
    return f"state{step}"
