"""What a graph costs at least, node by node: floating-point operations and bytes, from shapes alone.

A multiply-add counts as two operations, as in the figures that are published of networks; a convolution is
counted as it is defined, so that an algorithm with fewer multiplications (Winograd) may come out above the
limit that follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from ddgan_deploy.artifact.subgraphs import body_of, trips_of, with_bodies
from ddgan_deploy.errors import InputError
from ddgan_deploy.kernels.op import DOMAIN
from ddgan_deploy.kernels.ops import specs

Shape = tuple[int, ...]

_SOFTMAX_FLOPS = 5
_MOVES = frozenset(
    (
        *("Cast", "Concat", "Constant", "ConstantOfShape", "Expand", "Flatten", "Gather", "Identity", "Pad"),
        *("Reshape", "Shape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
    )
)
"""Ops that compute nothing."""
_VIEWS = frozenset(("Constant", "Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Unsqueeze"))
"""Ops that need not even move anything."""


@dataclass(frozen=True)
class NodeCost:
    """What one node needs at least.

    Attributes:
        name, op_type: of the node.
        output: name of its first output.
        shape: of its first output.
        flops: floating-point operations, two a multiply-add.
        weight_bytes: of the constants among its inputs.
        bytes: of all that it reads and writes, the constants included; none where it need move nothing.
        times: how often it runs: in a Loop, once a trip. The others are of one run.
    """

    name: str
    op_type: str
    output: str
    shape: Shape
    flops: int
    weight_bytes: int
    bytes: int
    times: int = 1


@dataclass(frozen=True)
class GraphCost:
    """What a graph needs at least at one batch size.

    Attributes:
        batch: images.
        nodes: in the graph's order; those of a Loop's body in the place of the Loop.
        io_bytes: of its inputs and outputs.
    """

    batch: int
    nodes: tuple[NodeCost, ...]
    io_bytes: int

    @property
    def flops(self) -> int:
        """Floating-point operations of all nodes."""
        return sum(node.flops * node.times for node in self.nodes)

    @property
    def least_bytes(self) -> int:
        """What must cross memory however well everything between is kept in caches.

        The graph's inputs and outputs, and its weights once for every node that uses them: once a step.
        """
        return self.io_bytes + sum(node.weight_bytes * node.times for node in self.nodes)


def graph_cost(model: onnx.ModelProto, batch: int = 1) -> GraphCost:
    """The cost of a sampler at a batch size.

    Args:
        model: with or without its external weights; it is left as it is. Nodes of domain ``ddgan`` are
            counted as one pass over their data, whatever their function bodies say.
        batch: stands for the dynamic first size of every input.

    Raises:
        InputError: shapes cannot be told.
    """
    values = _values(model, batch)
    constants = {tensor.name for graph in with_bodies(model.graph) for tensor in graph.initializer}
    nodes = tuple(_node_cost(node, values, constants, times) for node, times in _nodes(model.graph))
    ends = {info.name for info in (*model.graph.input, *model.graph.output)} - constants
    return GraphCost(batch, nodes, sum(values[name].bytes for name in ends))


def _nodes(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, int]]:
    """Every node, with how often it runs."""
    for node in graph.node:
        if node.op_type == "Loop":
            trips = trips_of(node, graph)
            yield from ((inner, trips * times) for inner, times in _nodes(body_of(node)))
        else:
            yield node, 1


@dataclass(frozen=True)
class _Value:
    shape: Shape
    item_bytes: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * self.item_bytes


_Values = Mapping[str, _Value]


def _values(model: onnx.ModelProto, batch: int) -> dict[str, _Value]:
    """Shape and type of every value, by ONNX's shape inference on a graph without our own ops."""
    known = onnx.ModelProto()
    known.CopyFrom(model)
    graphs = list(with_bodies(known.graph))
    names = {info.type.tensor_type.shape.dim[0].dim_param for info in known.graph.input} - {""}
    for info in known.graph.input:
        info.type.tensor_type.shape.dim[0].dim_value = batch
    # What follows a Loop, and what its body starts from, nobody infers: it is told with the name of the batch.
    for info in [info for graph in graphs for info in (*graph.input, *graph.value_info, *graph.output)]:
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_value = batch
    for node in [node for graph in graphs for node in graph.node]:
        if node.domain == DOMAIN:
            _stand_in(node)
    del known.functions[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(known, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise InputError(f"the shapes of the graph cannot be told ({' '.join(str(error).split())[:200]})") from None
    values: dict[str, _Value] = {}
    for graph in with_bodies(inferred.graph):
        values |= {
            tensor.name: _Value(tuple(tensor.dims), _item_bytes(tensor.data_type)) for tensor in graph.initializer
        }
        for info in (*graph.input, *graph.value_info, *graph.output):
            tensor = info.type.tensor_type
            if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
                shape = tuple(dim.dim_value for dim in tensor.shape.dim)
                values[info.name] = _Value(shape, _item_bytes(tensor.elem_type))
    for node in [node for graph in with_bodies(model.graph) for node in graph.node]:
        for name in filter(None, node.output):
            if name not in values:
                raise InputError(f"the shape of {name}, which {node.name or node.op_type} computes, cannot be told")
    return values


def _stand_in(node: onnx.NodeProto) -> None:
    """Turns a fused op into one with the same output shape that ONNX knows."""
    spec = specs()[node.op_type]
    like = node.input[[name for name, _ in spec.inputs].index(spec.like)] if spec.like else node.input[0]
    node.CopyFrom(onnx.helper.make_node("Identity", [like], list(node.output)[:1], name=node.name))


def _item_bytes(data_type: int) -> int:
    return int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(data_type)).itemsize)


def _node_cost(node: onnx.NodeProto, values: _Values, constants: set[str], times: int) -> NodeCost:
    inputs = [name for name in node.input if name]
    outputs = [values[name] for name in node.output if name]
    weight_bytes = sum(values[name].bytes for name in inputs if name in constants)
    data_bytes = sum(values[name].bytes for name in inputs if name not in constants) + sum(
        value.bytes for value in outputs
    )
    return NodeCost(
        name=node.name,
        op_type=node.op_type,
        output=node.output[0],
        shape=outputs[0].shape,
        flops=_flops(node, values),
        weight_bytes=weight_bytes,
        bytes=0 if node.op_type in _VIEWS else weight_bytes + data_bytes,
        times=times,
    )


def _flops(node: onnx.NodeProto, values: _Values) -> int:
    size = values[node.output[0]].size
    if node.op_type in _PRODUCTS:
        return 2 * _PRODUCTS[node.op_type](node, values)
    if node.op_type in _MOVES:
        return 0
    return size * _per_value(node)


def _per_value(node: onnx.NodeProto) -> int:
    if node.domain == DOMAIN:
        return specs()[node.op_type].flops
    return _SOFTMAX_FLOPS if node.op_type == "Softmax" else 1


def _convolution(node: onnx.NodeProto, values: _Values, weight: int = 1) -> int:
    """Each output value is a sum over the weight's other axes, [out, in/group, *kernel]."""
    return values[node.output[0]].size * math.prod(values[node.input[weight]].shape[1:])


def _transposed_convolution(node: onnx.NodeProto, values: _Values) -> int:
    """Each input value goes into as many outputs as the weight, [in, out/group, *kernel], has for it."""
    return values[node.input[0]].size * math.prod(values[node.input[1]].shape[1:])


def _product(node: onnx.NodeProto, values: _Values) -> int:
    """Each output value is a sum over the left factor's last axis."""
    return values[node.output[0]].size * values[node.input[0]].shape[-1]


def _gemm(node: onnx.NodeProto, values: _Values) -> int:
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return values[node.output[0]].size * values[node.input[0]].shape[0 if transposed else 1]


def _einsum(node: onnx.NodeProto, values: _Values) -> int:
    """One term for each combination of all indices."""
    equation = next(attribute.s.decode() for attribute in node.attribute if attribute.name == "equation")
    left, _, right = equation.replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    for term, name in zip([*left.split(","), right], [*node.input, node.output[0]], strict=True):
        sizes.update(_einsum_sizes(term, values[name].shape))
    return math.prod(sizes.values())


def _einsum_sizes(term: str, shape: Shape) -> dict[str, int]:
    """The size of each index of one operand; those that "..." stands for are named from the right."""
    before, dots, after = term.partition("...")
    hidden = [f"...{i}" for i in reversed(range(len(shape) - len(before) - len(after)))] if dots else []
    names: Sequence[str] = [*before, *hidden, *after]
    return dict(zip(names, shape, strict=True))


_PRODUCTS: Mapping[str, Callable[[onnx.NodeProto, _Values], int]] = {
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "QLinearConv": lambda node, values: _convolution(node, values, weight=3),
    "ConvTranspose": _transposed_convolution,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearMatMul": _product,
    "Gemm": _gemm,
    "Einsum": _einsum,
}
"""Op type -> its multiply-adds."""
