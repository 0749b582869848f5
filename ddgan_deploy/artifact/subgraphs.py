"""What walks an ONNX graph together with the bodies of its Loops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def with_bodies(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph, and all graphs inside its nodes; names of values are unique among all of them."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from with_bodies(attribute.g)


def body_of(loop: onnx.NodeProto) -> onnx.GraphProto:
    """What a Loop runs."""
    bodies: list[onnx.GraphProto] = [attribute.g for attribute in loop.attribute if attribute.name == "body"]
    return bodies[0]


def trips_of(loop: onnx.NodeProto, graph: onnx.GraphProto) -> int:
    """How often a Loop of our files runs, which a constant of the graph around it tells."""
    from onnx import numpy_helper

    tensor = next(tensor for tensor in graph.initializer if tensor.name == loop.input[0])
    return int(numpy_helper.to_array(tensor))
