"""The 1/sqrt(2) of every residual sum joins the weights around it.

    Mul(Add(x, h), c)    ->  Add(x, h)
    Conv(x, w, b)        ->  Conv(x, w s_y / s_x, b s_y)
    AdaGN(x, epsilon)    ->  AdaGN(x, epsilon s_x^2)

A value v inside the network is kept as s_v v, with a constant s_v of its own. A product y = c x is no work where
s_y = s_x / c. Sums, concatenations and filters need one scale for all that they touch; a convolution turns any
scale into any other by its weights; a normalization undoes every scale, if epsilon follows. Where x comes without
a convolution it is added as it is, and the sum's scale is sqrt(2) times its own.

One product stays, and takes over what the others leave: between the last value that is kept for the way up
and its concatenation with what became of it, no convolution stands that could.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx_ir as ir
from onnx_ir.convenience import replace_all_uses_with

from ddgan_deploy.export.rewrites.filters import is_filter
from ddgan_deploy.kernels.adagn.spec import SPEC as ADAGN


def fold_residual_scales(graph: ir.Graph) -> int:
    """Rewrites every match in place.

    1. One factor is a positive constant, the other a sum.
    2. The scales that follow do not contradict what other nodes need.

    The graph's inputs and outputs keep their scale, and so does what a normalization makes. Of all values whose
    scales hang together, and on none of these, the largest is 1: nothing comes closer to the end of fp16.

    Returns:
        Number of products that went.
    """
    scales = _Scales()
    scales.keep([*graph.inputs, *graph.outputs])
    products = {node: factor for node in graph if (factor := _factor(node)) is not None}
    for node in graph:
        if node not in products:
            _constrain(node, scales)
    gone = [node for node, factor in products.items() if scales.tie(*_ends(node), -math.log2(factor))]
    scale_of = scales.solve(graph)
    for node in graph:
        _scale(node, scale_of)
    for node in gone:
        x, y = _ends(node)
        replace_all_uses_with(y, x, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        del products[node]
    for node, factor in products.items():
        x, y = _ends(node)
        _set_factor(graph, node, factor * scale_of[y] / scale_of[x])
    return len(gone)


class _Scales:
    """What is known of the values' scales: ratios between some, and that some are 1. All in log2."""

    def __init__(self) -> None:
        self._links: dict[ir.Value, tuple[ir.Value, float]] = {}
        self._one = ir.Value(name="one")

    def tie(self, x: ir.Value, y: ir.Value, ratio: float = 0.0) -> bool:
        """Demands s_y = 2^ratio s_x; says whether that can be."""
        (x_root, x_log), (y_root, y_log) = self._root(x), self._root(y)
        if x_root is y_root:
            return math.isclose(y_log - x_log, ratio, abs_tol=1e-6)
        self._links[y_root] = (x_root, x_log + ratio - y_log)
        return True

    def keep(self, values: Sequence[ir.Value]) -> None:
        """Demands a scale of 1."""
        for value in values:
            self.tie(self._one, value)

    def solve(self, graph: ir.Graph) -> dict[ir.Value, float]:
        """The scales of all that the graph computes."""
        known = {value: self._root(value) for node in graph for value in node.outputs}
        unit: dict[ir.Value, float] = {}
        for root, log in known.values():
            unit[root] = max(log, unit.get(root, log))
        root, log = self._root(self._one)
        unit[root] = log
        return {value: 2.0 ** (log - unit[root]) for value, (root, log) in known.items()}

    def _root(self, value: ir.Value) -> tuple[ir.Value, float]:
        log = 0.0
        while value in self._links:
            value, step = self._links[value]
            log += step
        return value, log


def _factor(node: ir.Node) -> float | None:
    """The constant with which a node multiplies a sum."""
    if node.op_type != "Mul":
        return None
    x, factor = node.inputs
    producer = x.producer() if x is not None else None
    if producer is None or producer.op_type != "Add" or factor is None or factor.const_value is None:
        return None
    array = factor.const_value.numpy()
    return float(array) if array.ndim == 0 and array > 0 else None


def _ends(node: ir.Node) -> tuple[ir.Value, ir.Value]:
    assert node.inputs[0] is not None
    return node.inputs[0], node.outputs[0]


def _set_factor(graph: ir.Graph, node: ir.Node, factor: float) -> None:
    """Gives a product a constant of its own."""
    tensor = ir.tensor(factor, dtype=ir.DataType.FLOAT, name=f"{node.name}.factor")
    value = ir.Value(name=tensor.name, const_value=tensor, shape=ir.Shape(()), type=ir.TensorType(tensor.dtype))
    graph.register_initializer(value)
    node.replace_input_with(1, value)


def _constrain(node: ir.Node, scales: _Scales) -> None:
    """States what a node demands of the scales around it."""
    values = [value for value in node.inputs if value is not None and value.const_value is None]
    if node.op_type == ADAGN.name:
        scales.keep([*values[1:], *node.outputs])
    elif _is_linear(node):
        for value in (*values[1:], *node.outputs):
            scales.tie(values[0], value)
    elif not _has_weights(node):
        scales.keep([*values, *node.outputs])


def _is_linear(node: ir.Node) -> bool:
    """Whether a node's output scales with all its inputs."""
    match node.op_type:
        case "Add" | "Concat":
            return all(value is not None and value.const_value is None for value in node.inputs)
        case "Conv" | "ConvTranspose":
            return is_filter(node) and len(node.inputs) == 2
        case kind:
            return kind in ("AveragePool", "Resize", "Reshape")


def _has_weights(node: ir.Node) -> bool:
    """Whether a node is a convolution with constants that no other node reads."""
    constants = node.inputs[1:]
    return node.op_type == "Conv" and all(
        value is not None and value.const_value is not None and len(value.uses()) == 1 for value in constants
    )


def _scale(node: ir.Node, scale_of: Mapping[ir.Value, float]) -> None:
    """Puts the scales around a node into its constants."""
    x, *constants = node.inputs
    assert x is not None
    before, after = scale_of.get(x, 1.0), scale_of[node.outputs[0]]
    if node.op_type == ADAGN.name:
        epsilon = node.attributes["epsilon"].as_float()
        node.attributes.add(ir.AttrFloat32("epsilon", epsilon * before**2))
    elif _has_weights(node) and not _is_linear(node):
        for value, factor in zip(constants, (after / before, after), strict=False):
            assert value is not None and value.const_value is not None
            value.const_value = ir.tensor(value.const_value.numpy() * factor, name=value.name)
