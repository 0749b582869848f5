"""A graph as ONNX Runtime's CPU provider runs it with the native library: 3x3 convolutions by `ddgan.Conv3x3`.

The files keep ONNX's own Conv nodes, which every runtime knows; the engine rewrites a graph in memory when it opens it.

1. Conv becomes ``Conv3x3(x, weight, bias)``: 3x3, stride 1, padding 1, one group, a bias, weights that are float32
   initializers, at least `_CHANNELS` channels on either side and `_PIXELS` pixels.
2. An Add of a tensor of the same shape, the only reader of rule 1's result, joins it as the fourth input.
3. A Mul by one number, the only reader of rule 1's or 2's result, joins it as the attribute ``scale``.

Rules 2 and 3 keep the order of the additions and the product: y = (conv + bias + residual) * scale. No rule asks for
the batch: one seed gives one image in any.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ddgan_deploy.artifact.subgraphs import with_bodies

if TYPE_CHECKING:
    import onnx

_CHANNELS = 16
"""With fewer, a vector of channels is mostly empty."""

_PIXELS = 64
"""With fewer, making the weights' transform takes longer than the multiplications it saves, at batch 1."""

_MACHINES = ("x86_64", "AMD64")
"""Where it was measured to be faster than ONNX Runtime's own convolution, on each instruction set."""

_ATTRIBUTES: dict[str, Any] = {
    "auto_pad": b"NOTSET",
    "dilations": [1, 1],
    "group": 1,
    "kernel_shape": [3, 3],
    "pads": [1, 1, 1, 1],
    "strides": [1, 1],
}


def specialized(model: Path | bytes) -> Path | bytes:
    """The model with its nodes rewritten, serialized; or the model itself where nothing is, or it cannot be read."""
    import onnx
    from google.protobuf.message import DecodeError

    if platform.machine() not in _MACHINES:
        return model
    try:
        content = model if isinstance(model, bytes) else model.read_bytes()
        proto = onnx.load_model_from_string(content)
    except (OSError, DecodeError):
        return model
    return proto.SerializeToString() if specialize(proto) else model


def specialize(model: onnx.ModelProto) -> int:
    """Rewrites the model's graph and the bodies of its Loops in place; returns the number of Conv3x3 nodes."""
    shapes, graphs = _shapes(model), list(with_bodies(model.graph))
    initializers = {value.name: value for graph in graphs for value in graph.initializer}
    # The body of a Loop reads values of the graph around it.
    read = [name for graph in graphs for node in graph.node for name in node.input]
    readings = Counter([*read, *(value.name for graph in graphs for value in graph.output)])
    count = sum(_Rewriting(graph, initializers, shapes, readings).run() for graph in graphs)
    if count:
        _import_domain(model)
    return count


class _Rewriting:
    """One graph while it is rewritten; a node is known by its place."""

    def __init__(
        self,
        graph: onnx.GraphProto,
        initializers: Mapping[str, onnx.TensorProto],
        shapes: Mapping[str, Sequence[int | str]],
        readings: Mapping[str, int],
    ) -> None:
        self._nodes = graph.node
        self._initializers = initializers
        self._shapes = shapes
        self._readings = readings
        self._reader = {name: place for place, node in enumerate(self._nodes) for name in node.input}

    def run(self) -> int:
        rewritten: dict[int, onnx.NodeProto] = {}
        dropped: set[int] = set()
        for place, conv in enumerate(self._nodes):
            if self._is_eligible(conv):
                places, node = self._fused(place, dropped)
                dropped.update(places)
                # Where the last of them was, all inputs are there.
                rewritten[places[-1]] = node
        if not rewritten:
            return 0
        nodes = [
            rewritten.get(place, node)
            for place, node in enumerate(self._nodes)
            if place in rewritten or place not in dropped
        ]
        del self._nodes[:]
        self._nodes.extend(nodes)
        return len(rewritten)

    def _is_eligible(self, node: onnx.NodeProto) -> bool:
        if node.op_type != "Conv" or node.domain not in ("", "ai.onnx") or len(node.input) != 3:
            return False
        weight = self._initializers.get(node.input[1])
        if weight is None or weight.data_type != weight.FLOAT or list(weight.dims[2:]) != [3, 3]:
            return False
        outputs, inputs = weight.dims[:2]
        return (
            _attributes(node) == _ATTRIBUTES
            and min(outputs, inputs) >= _CHANNELS
            and _pixels(self._shapes.get(node.input[0], ())) >= _PIXELS
        )

    def _fused(self, place: int, taken: set[int]) -> tuple[list[int], onnx.NodeProto]:
        """The places of a Conv and of what joins it, in their order, and the node for all of them."""
        from onnx import helper

        from ddgan_deploy.kernels.op import DOMAIN

        conv = self._nodes[place]
        places, inputs, scale = [place], list(conv.input), 1.0
        if (add := self._only_reader(conv.output[0], "Add")) is not None and add not in taken:
            residual = self._other_input(add, conv.output[0])
            if self._same_shape(residual, conv.output[0]):
                places.append(add)
                inputs.append(residual)
        result = self._nodes[places[-1]].output[0]
        if (mul := self._only_reader(result, "Mul")) is not None:
            number = self._number(self._other_input(mul, result))
            if number is not None:
                places.append(mul)
                scale = number
        output = self._nodes[places[-1]].output
        return places, helper.make_node("Conv3x3", inputs, output, conv.name, domain=DOMAIN, scale=scale)

    def _only_reader(self, value: str, op_type: str) -> int | None:
        """The one node that reads a value, if it is of this type and nothing else does."""
        place = self._reader.get(value)
        if place is None or self._readings[value] != 1 or self._nodes[place].op_type != op_type:
            return None
        return place

    def _other_input(self, place: int, value: str) -> str:
        first, second = self._nodes[place].input
        return str(second if first == value else first)

    def _same_shape(self, residual: str, result: str) -> bool:
        """Whether a tensor has the result's extents; of its batch only that it is not stated to be another."""
        one, other = self._shapes.get(residual, ()), self._shapes.get(result, ())
        return len(one) == len(other) == 4 and one[1:] == other[1:] and isinstance(one[0], type(other[0]))

    def _number(self, name: str) -> float | None:
        from onnx import numpy_helper

        value = self._initializers.get(name)
        if value is None or value.data_type != value.FLOAT or value.external_data or np.prod(value.dims) != 1:
            return None
        # More dimensions than four would be the result's too.
        return float(numpy_helper.to_array(value).reshape(())) if len(value.dims) <= 4 else None


def _shapes(model: onnx.ModelProto) -> dict[str, Sequence[int | str]]:
    """Every value's extents, numbers or names ("" where nothing is known), as far as they can be inferred."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        value.name: [
            extent.dim_value if extent.HasField("dim_value") else extent.dim_param
            for extent in value.type.tensor_type.shape.dim
        ]
        for graph in with_bodies(inferred)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def _pixels(shape: Sequence[int | str]) -> int:
    """Of an image [N, C, H, W]; 0 where an extent is not known."""
    if len(shape) != 4:
        return 0
    height, width = shape[2:]
    return height * width if isinstance(height, int) and isinstance(width, int) else 0


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A Conv's attributes with their defaults, for 3x3 weights."""
    from onnx import helper

    defaults = {**_ATTRIBUTES, "pads": [0, 0, 0, 0]}
    return {**defaults, **{attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}}


def _import_domain(model: onnx.ModelProto) -> None:
    from ddgan_deploy.kernels.op import DOMAIN, VERSION

    if all(entry.domain != DOMAIN for entry in model.opset_import):
        model.opset_import.add(domain=DOMAIN, version=VERSION)
