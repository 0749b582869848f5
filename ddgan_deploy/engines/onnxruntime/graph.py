"""A graph while the CPU engine rewrites it in memory, as its nodes are asked about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ddgan_deploy.artifact.subgraphs import with_bodies

if TYPE_CHECKING:
    import onnx

ONNX_DOMAINS = ("", "ai.onnx")
Shapes = Mapping[str, Sequence[int | str]]
"""Every value's extents, numbers or names ("" where nothing is known)."""


@dataclass(frozen=True)
class Values:
    """What is known of the values of a model and of the bodies in it, whose names are unique among all of them.

    Attributes:
        initializers: by name.
        shapes: as far as they can be inferred.
        readings: how often a value is read, as an output of a graph too.
    """

    initializers: Mapping[str, onnx.TensorProto]
    shapes: Shapes
    readings: Mapping[str, int]

    @classmethod
    def of(cls, model: onnx.ModelProto, shapes: Shapes) -> Values:
        graphs = list(with_bodies(model.graph))
        initializers = {value.name: value for graph in graphs for value in graph.initializer}
        # The body of a Loop reads values of the graph around it.
        return cls(initializers, shapes, Counter(_readings(graphs)))


@dataclass(frozen=True)
class Chain:
    """A convolution with what follows it, y = (conv + bias + residual) * scale.

    Attributes:
        places: of its nodes, in their order.
        residual: a value of y's shape, or none.
        scale: a number.
        output: y.
    """

    places: tuple[int, ...]
    residual: str
    scale: float
    output: str


class Rewriting:
    """One graph while it is rewritten; a node is known by its place."""

    def __init__(self, graph: onnx.GraphProto, values: Values) -> None:
        self.nodes: Sequence[onnx.NodeProto] = graph.node
        self._graph = graph
        self.values = values
        self._maker = {name: place for place, node in enumerate(self.nodes) for name in node.output}
        self._reader = {name: place for place, node in enumerate(self.nodes) for name in node.input}
        self._instead: dict[int, list[onnx.NodeProto]] = {}
        self._taken: set[int] = set()

    def replace(self, chain: Chain, node: onnx.NodeProto) -> None:
        """Puts a node in the place of a chain's last one, where all inputs are there."""
        self._taken.update(chain.places)
        self._instead[chain.places[-1]] = [*self._instead.get(chain.places[-1], []), node]

    def insert(self, place: int, node: onnx.NodeProto) -> None:
        """Puts a node before what is at a place."""
        self._instead.setdefault(place, []).insert(0, node)

    def finish(self) -> None:
        """Writes what was replaced and inserted into the graph."""
        nodes: list[onnx.NodeProto] = []
        for place, node in enumerate(self.nodes):
            nodes += self._instead.get(place, [])
            if place not in self._taken:
                nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(nodes)

    def chain(self, place: int) -> Chain:
        """Of the convolution at a place, with an Add of a tensor of the same shape and a Mul by one number, each the
        only reader of what it reads."""
        places, residual, scale = [place], "", 1.0
        output = self.nodes[place].output[0]
        if (add := self._only_reader(output, "Add")) is not None and add not in self._taken:
            other = self._other_input(add, output)
            if self._same_shape(other, output):
                places.append(add)
                residual, output = other, self.nodes[add].output[0]
        if (mul := self._only_reader(output, "Mul")) is not None:
            number = self._number(self._other_input(mul, output))
            if number is not None:
                places.append(mul)
                scale, output = number, self.nodes[mul].output[0]
        return Chain(tuple(places), residual, scale, output)

    def made_by(self, value: str, op_type: str, domains: Iterable[str] = ONNX_DOMAINS) -> onnx.NodeProto | None:
        """The node that makes a value, if it is of this type."""
        place = self._maker.get(value)
        node = None if place is None else self.nodes[place]
        return node if node is not None and node.op_type == op_type and node.domain in domains else None

    def _only_reader(self, value: str, op_type: str) -> int | None:
        """The one node that reads a value, if it is of this type and nothing else does."""
        place = self._reader.get(value)
        if place is None or self.values.readings[value] != 1 or self.nodes[place].op_type != op_type:
            return None
        return place

    def _other_input(self, place: int, value: str) -> str:
        first, second = self.nodes[place].input
        return str(second if first == value else first)

    def _same_shape(self, residual: str, result: str) -> bool:
        """Whether a tensor has the result's extents; of its batch only that it is not stated to be another."""
        one, other = self.values.shapes.get(residual, ()), self.values.shapes.get(result, ())
        if not len(one) == len(other) == 4 or one[1:] != other[1:]:
            return False
        # Names may differ for what is equal, numbers may not.
        return one[0] == other[0] or (isinstance(one[0], str) and isinstance(other[0], str))

    def _number(self, name: str) -> float | None:
        from onnx import numpy_helper

        value = self.values.initializers.get(name)
        if value is None or value.data_type != value.FLOAT or value.external_data or np.prod(value.dims) != 1:
            return None
        # More dimensions than four would be the result's too.
        return float(numpy_helper.to_array(value).reshape(())) if len(value.dims) <= 4 else None


class Inferred(NamedTuple):
    """What can be inferred of all values of a model and of the bodies in it.

    Attributes:
        shapes: as far as they are known.
        float32: the values that are of that type.
    """

    shapes: Shapes
    float32: Set[str]


def infer(model: onnx.ModelProto) -> Inferred:
    """Of a model as it is now."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = [value for graph in with_bodies(inferred) for value in (*graph.input, *graph.value_info, *graph.output)]
    shapes = {
        value.name: [
            extent.dim_value if extent.HasField("dim_value") else extent.dim_param
            for extent in value.type.tensor_type.shape.dim
        ]
        for value in values
    }
    float32 = {value.name for value in values if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    return Inferred(shapes, float32)


def image_size(shape: Sequence[int | str]) -> tuple[int, int] | None:
    """H and W of an image [N, C, H, W]; None where one is not known."""
    if len(shape) != 4:
        return None
    height, width = shape[2:]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def convolution(node: onnx.NodeProto, kernel: Sequence[int]) -> dict[str, Any] | None:
    """A node's attributes with their defaults; None where it is no Conv.

    Args:
        node: any.
        kernel: its weights' height and width.
    """
    return attributes(node, kernel) if node.op_type == "Conv" and node.domain in ONNX_DOMAINS else None


def attributes(node: onnx.NodeProto, kernel: Sequence[int]) -> dict[str, Any]:
    """Those of a Conv or ConvTranspose of two dimensions, with their defaults."""
    from onnx import helper

    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {**defaults(node.op_type, kernel), **given}


def defaults(op_type: str, kernel: Sequence[int]) -> dict[str, Any]:
    """What `attributes` are of a node that says nothing."""
    return {
        "auto_pad": b"NOTSET",
        "dilations": [1, 1],
        "group": 1,
        "kernel_shape": list(kernel),
        "pads": [0, 0, 0, 0],
        "strides": [1, 1],
        **({"output_padding": [0, 0]} if op_type == "ConvTranspose" else {}),
    }


def same_size(kernel: int) -> dict[str, Any]:
    """The attributes of a convolution kernel x kernel whose result is as large as its input."""
    return {**defaults("Conv", [kernel, kernel]), "pads": [kernel // 2] * 4}


def import_domain(model: onnx.ModelProto) -> None:
    """Lets a model have our ops."""
    from ddgan_deploy.kernels.op import DOMAIN, VERSION

    if all(entry.domain != DOMAIN for entry in model.opset_import):
        model.opset_import.add(domain=DOMAIN, version=VERSION)


def drop_unread(model: onnx.ModelProto) -> None:
    """Removes the nodes and initializers of a model and of the bodies in it that nothing reads, or only such nodes."""
    graphs = list(with_bodies(model.graph))
    counts = Counter(_readings(graphs))
    # What is inside of a Loop reads what is outside, never the other way.
    for graph in reversed(graphs):
        kept: list[onnx.NodeProto] = []
        for node in reversed(graph.node):
            if any(counts[name] for name in node.output):
                kept.append(node)
            else:
                counts.subtract(node.input)
        del graph.node[:]
        graph.node.extend(reversed(kept))
    # Not the graphs of before: nodes are copied, with the bodies in them.
    for graph in with_bodies(model.graph):
        tensors = [tensor for tensor in graph.initializer if counts[tensor.name]]
        del graph.initializer[:]
        graph.initializer.extend(tensors)


def _readings(graphs: Iterable[onnx.GraphProto]) -> Iterator[str]:
    """Every name that is read, as an output of a graph too, as often as it is."""
    for graph in graphs:
        for node in graph.node:
            yield from node.input
        for value in graph.output:
            yield value.name
