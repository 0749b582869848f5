"""Small graphs out of ONNX's text form, and their gradients beside those of PyTorch's autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx import helper, numpy_helper, parser

from ddgan_deploy.engines.onnxruntime.session import new_session
from ddgan_deploy.export.graph.gradient import differentiate
from ddgan_deploy.export.graph.save import attach_functions
from ddgan_deploy.kernels import op as ops
from tests.kernels.cases import FLOOR

BATCHES = (1, 3)
Plain = Callable[..., torch.Tensor]


def graph_of(nodes: str, shape: Sequence[int], constants: Mapping[str, np.ndarray]) -> ir.Model:
    """A graph from ``x`` [batch, *shape] to ``y``, with shapes at every value.

    Args:
        nodes: in ONNX's text form, one a line; each is named after its first output.
        constants: its initializers.
    """
    made = [parser.parse_node(line) for line in nodes.strip().splitlines()]
    for node in made:
        node.name = node.output[0]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", *shape])],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", ops.OPSET), helper.make_opsetid(ops.DOMAIN, ops.VERSION)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ops.IR_VERSION)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model, data_prop=True))


def value_of(graph: ir.Graph, name: str) -> ir.Value:
    """A graph's value."""
    return ir.convenience.create_value_mapping(graph)[name]


def add_gradient(model: ir.Model, of: str = "y", to: str = "x") -> ir.Value:
    """Gives a graph one more input, ``seed``, and in place of its outputs the gradient."""
    graph = model.graph
    y = value_of(graph, of)
    seed = ir.Value(name="seed", shape=y.shape, type=y.type)
    graph.inputs.append(seed)
    dx = differentiate(graph, y, value_of(graph, to), seed)
    graph.outputs[:] = [dx]
    return dx


def gradient_types(model: ir.Model) -> list[str]:
    """The types of the nodes that a gradient is made of, in their order."""
    return [node.op_type for node in model.graph if "/grad" in (node.name or "")]


def assert_as_autograd(model: ir.Model, plain: Plain, others: Iterable[np.ndarray] = ()) -> None:
    """Holds a graph from ``x``, others and ``seed`` to the gradient by x.

    Args:
        plain: from x and the others to ``y`` in PyTorch, in x's type.
        others: one row of each.
    """
    (dx,) = model.graph.outputs
    x = value_of(model.graph, "x")
    assert (dx.shape, dx.dtype) == (x.shape, x.dtype)
    assert_close(model, lambda inputs, dtype: autograd(plain, inputs, dtype), others)


def assert_close(
    model: ir.Model, computed: Callable[[Sequence[np.ndarray], torch.dtype], np.ndarray], others: Iterable[np.ndarray]
) -> None:
    """Holds a graph to float64, within twice what PyTorch gets wrong in float32, at several batches of one session.

    Args:
        computed: from all inputs what the graph computes, in PyTorch, by the type it is to compute in.
        others: one row of each input between ``x`` and ``seed``.
    """
    attach_functions(model)
    session = new_session(ir.to_proto(model).SerializeToString())
    first, *between, last = session.get_inputs()
    rng = np.random.default_rng(0)

    def drawn(value: Any, batch: int) -> np.ndarray:
        return rng.normal(size=[each if isinstance(each, int) else batch for each in value.shape]).astype(np.float32)

    for batch in BATCHES:
        inputs = [drawn(first, batch), *(np.repeat(value, batch, axis=0) for value in others), drawn(last, batch)]
        names = [value.name for value in (first, *between, last)]
        (found,) = session.run(None, dict(zip(names, inputs, strict=True)))
        exact, single = (computed(inputs, dtype) for dtype in (torch.float64, torch.float32))
        assert found.shape == exact.shape
        allowed = 2 * np.abs(single - exact).max() + FLOOR["float32"] * max(1, np.abs(exact).max())
        assert np.abs(found - exact).max() <= allowed


def autograd(plain: Plain, inputs: Sequence[np.ndarray], dtype: torch.dtype) -> np.ndarray:
    """PyTorch's gradient by the first of the inputs, of which the last is the seed, float64."""
    x, *others, seed = (torch.from_numpy(value).to(dtype) for value in inputs)
    x.requires_grad_()
    (dx,) = torch.autograd.grad(plain(x, *others), x, seed)
    return dx.double().numpy()
