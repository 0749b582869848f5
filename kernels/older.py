"""Graphs of format 1, whose ops have variants by an attribute, with the ops of today, one name each.

    AdaGN, its activation "none" or "silu"        ->  AdaGN or AdaGNSilu
    PosteriorSample, its squash "none" or "tanh"  ->  ReverseStep, of Tanh in float32 (``<step>/x0``) where it squashes

Results are the same, bit for bit. Each variant was a function of its own under one name, an overload (ONNX IR 10):
ONNX Runtime before 1.27 and TensorRT's parser take such functions for one, silently. Whoever reads a graph through
`modernize` need know the ops of today alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .op import DOMAIN, IR_VERSION

if TYPE_CHECKING:
    import onnx

_MARK = "activation"
"""An attribute of every AdaGN of before, and of no op of today."""


def may_be_older(content: bytes) -> bool:
    """Whether a serialized model can be one that `modernize` rewrites."""
    return _MARK.encode() in content


def is_older(model: onnx.ModelProto) -> bool:
    """Whether `modernize` rewrites a model."""
    nodes = model.graph.node
    return any(node.domain == DOMAIN and any(told.name == _MARK for told in node.attribute) for node in nodes)


def modernize(model: onnx.ModelProto) -> bool:
    """Rewrites a graph in place, with or without its external weights; returns whether it was an older one.

    What takes a node's place keeps its name and its output.

    Raises:
        KeyError: an older node does not say what its op must.
    """
    import onnx

    from .ops import specs

    if not is_older(model):
        return False
    graph = model.graph
    renewed = onnx.GraphProto(node=[new for node in graph.node for new in _renewed(node, graph)])
    del graph.node[:], model.functions[:]
    graph.node.extend(renewed.node)
    used = {node.op_type for node in graph.node if node.domain == DOMAIN}
    model.functions.extend(specs()[name].function() for name in sorted(used))
    model.ir_version = IR_VERSION
    return True


def _renewed(node: onnx.NodeProto, graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """What takes a node's place, mostly itself; constants go into the graph."""
    from onnx import helper

    if (node.domain, node.op_type) == (DOMAIN, "AdaGN"):
        yield _norm(node)
    elif (node.domain, node.op_type) == (DOMAIN, "PosteriorSample"):
        yield from _step(node, {told.name: helper.get_attribute_value(told) for told in node.attribute}, graph)
    else:
        yield node


def _norm(node: onnx.NodeProto) -> onnx.NodeProto:
    import onnx

    from .adagn.spec import BY_ACTIVATION

    told = {attribute.name: attribute for attribute in node.attribute}
    new = onnx.NodeProto()
    new.CopyFrom(node)
    new.op_type, new.overload = BY_ACTIVATION[told.pop(_MARK).s.decode()].name, ""
    del new.attribute[:]
    new.attribute.extend(told.values())
    return new


def _step(node: onnx.NodeProto, told: Mapping[str, Any], graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    from .reverse_step.spec import STEP, Coefficients

    x_0, x, noise = node.input
    if told["squash"] == b"tanh":
        name = f"{node.name.rpartition('/')[0]}/x0"
        raw, squashed = f"{name}/fp32", f"{name}/squashed"
        yield helper.make_node("Cast", [x_0], [raw], raw, to=TensorProto.FLOAT)
        yield helper.make_node("Tanh", [raw], [squashed], name)
        x_0 = squashed
    row = Coefficients(c0=told["coef_x0"], ct=told["coef_xt"], s=told["sigma"])
    coefficients = numpy_helper.from_array(np.array(row, np.float32), f"{node.name}/coefficients")
    graph.initializer.append(coefficients)
    inputs = [x_0, x, noise, coefficients.name]
    yield helper.make_node(STEP.name, inputs, node.output, node.name, domain=DOMAIN, plugin_namespace=DOMAIN)
