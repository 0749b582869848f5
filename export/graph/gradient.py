"""Reverse mode: the nodes of a graph -> further nodes, which compute a vector-Jacobian product.

    y = f(x), a seed s of y's shape  ->  dx = Σ_i s_i · ∂y_i/∂x

Nodes are walked from the last to the first. Each has the cotangents dy of its outputs, what the result changes by with
them, and a rule (`gradients.rules`) makes those of its inputs. A value that is used several times sums its cotangents.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from ddgan_deploy.errors import GateError
from ddgan_deploy.export.graph.builder import GraphBuilder
from ddgan_deploy.export.graph.gradients.backward import Backward, no_gradient
from ddgan_deploy.export.graph.gradients.rules import rule_of
from ddgan_deploy.export.graph.rewrites.shared_constants import share_constants
from ddgan_deploy.kernels.op import IR_VERSION


def differentiate(graph: ir.Graph, of: ir.Value, to: ir.Value, seed: ir.Value) -> ir.Value:
    """The gradient of ``sum(seed * of)`` by ``to``, as further nodes of the graph.

    Nothing is made for what does not depend on ``to``, as weights and styles do not. A node is named after the one
    whose gradient it is, as ``out.0/grad``, and so is its layer. The batch stays dynamic.

    Args:
        graph: sorted, without subgraphs; at most one extent of each value is dynamic. Changed in place.
        of: a value of the graph, of any float type, as all others between it and ``to``.
        to: a value that ``of`` depends on; its rows, along the batch, depend on their own alone.
        seed: a value of the shape and type of ``of``.

    Returns:
        A value of the shape and type of ``to``.

    Raises:
        GateError: ``of`` does not depend on ``to``, or a node between them has no rule, or one that does not cover it.
    """
    _infer_shapes(graph)
    dependent = _dependent(graph, to)
    if of not in dependent:
        raise GateError(f"{of.name} does not depend on {to.name}: there is no gradient")
    build = GraphBuilder()
    taken = {node.name for node in graph}
    cotangents = {of: seed}
    for node in _backwards(graph, of, dependent):
        rule = rule_of(node)
        if rule is None:
            raise no_gradient(node, "its op has no rule")
        at = Backward(build, node, [cotangents.get(value) for value in node.outputs], taken)
        for position, value in enumerate(node.inputs):
            if value in dependent:
                part = rule(at, position)
                known = cotangents.get(value)
                cotangents[value] = part if known is None else at.op("Add", known, part, like=value)
    own = list(build.nodes)
    _give_weights_of_their_own(graph, own)
    graph.extend(own)
    for constant in build.initializers:
        graph.register_initializer(constant)
    share_constants(graph)
    return cotangents[to]


def _give_weights_of_their_own(graph: ir.Graph, nodes: Sequence[ir.Node]) -> None:
    """Lets nodes read the graph's weights under other names; the tensors are the same, and stored once.

    A network and its gradient read a matrix along different axes, as Conv and ConvTranspose do. OpenVINO (2026.4 was
    seen to) arranges it for whichever runs first, and where it is square both then run with that, without a word.
    """
    twins: dict[ir.Value, ir.Value] = {}
    for node in nodes:
        for position, value in enumerate(node.inputs):
            if value is None or value.graph is not graph or value.const_value is None:
                continue
            if value.shape is None or len(value.shape) < 2:
                continue
            if value not in twins:
                twins[value] = ir.Value(
                    name=f"{value.name}/grad", const_value=value.const_value, shape=value.shape, type=value.type
                )
                graph.register_initializer(twins[value])
            node.replace_input_with(position, twins[value])


def _infer_shapes(graph: ir.Graph) -> None:
    """Adds the shapes that a trace leaves out, those within one op of PyTorch, as of the sigmoid in a SiLU."""
    if any(value.shape is None for node in graph for value in node.outputs):
        ShapeInferencePass(check_type=False, strict_mode=False)(ir.Model(graph, ir_version=IR_VERSION))


def _dependent(graph: ir.Graph, to: ir.Value) -> set[ir.Value]:
    """The values of a float type that depend on one, itself among them."""
    found = {to}
    for node in graph:
        if not found.isdisjoint(node.inputs):
            found.update(value for value in node.outputs if value.dtype is None or value.dtype.is_floating_point())
    return found


def _backwards(graph: ir.Graph, of: ir.Value, dependent: set[ir.Value]) -> Sequence[ir.Node]:
    """The nodes through which one value depends on another, the last one first."""
    found, wanted = [], {of}
    for node in reversed(graph):
        if not wanted.isdisjoint(node.outputs) and not dependent.isdisjoint(node.inputs):
            found.append(node)
            wanted.update(value for value in node.inputs if value in dependent)
    return found
