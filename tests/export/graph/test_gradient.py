"""What reverse mode makes and what it leaves out, and what it refuses; the rules: test_gradient_rules.py."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from ddgan_deploy.errors import GateError
from ddgan_deploy.export.graph.gradient import differentiate
from ddgan_deploy.export.graph.trace import LAYER
from tests.export.graph.differentiated import (
    add_gradient,
    assert_as_autograd,
    gradient_types,
    graph_of,
    value_of,
)

IMAGE = (3, 5, 4)


def graph(nodes, shape=IMAGE, **constants):
    return graph_of(nodes, shape, {name: np.asarray(value) for name, value in constants.items()})


def test_a_value_used_several_times_sums_its_cotangents():
    model = graph("h = Neg (x)\na = Sigmoid (h)\nb = Mul (h, a)\nc = Sub (b, h)\ny = Add (c, x)")
    add_gradient(model)
    # Two of the three sums are for h, one is for x.
    assert gradient_types(model).count("Add") == 3
    assert_as_autograd(model, lambda x: -x * torch.sigmoid(-x) + 2 * x)


def test_what_does_not_depend_on_it_gets_no_gradient():
    """Neither weights, nor what is made of them, nor the number of pixels."""
    model = graph(
        "s = Tanh (w)\nt = Exp (s)\nh = Mul (x, t)\ny = Neg (h)\naside = Sigmoid (h)", w=np.ones((3, 1, 1), np.float32)
    )
    add_gradient(model)
    assert gradient_types(model) == ["Neg", "Mul"]
    named = [node.name for node in model.graph if "/grad" in node.name]
    assert named == ["y/grad", "h/grad"]


def test_a_slice_may_leave_out_its_axes():
    model = graph("y = Slice (x, from, to)", to=[2**31, 2**31], **{"from": [0, 1]})
    value_of(model.graph, "y").shape = ir.Shape(("batch", 2, 5, 4))
    add_gradient(model)
    assert_as_autograd(model, lambda x: x[:, 1:])


def test_integers_made_of_it_carry_no_gradient():
    model = graph("s = Shape (x)\nh = Exp (x)\ny = Reshape (h, s)")
    add_gradient(model)
    assert gradient_types(model) == ["Reshape", "Mul"]
    assert_as_autograd(model, torch.exp)


def test_between_two_inner_values():
    model = graph("a = Exp (x)\nb = Tanh (a)\nc = Neg (b)\ny = Sigmoid (c)")
    add_gradient(model, of="c", to="a")
    assert gradient_types(model) == ["Neg", "Mul", "Sub", "Mul"]


def test_of_a_value_by_itself_is_the_seed():
    model = graph("y = Exp (x)")
    assert add_gradient(model, to="y").name == "seed"
    assert gradient_types(model) == []


def test_nodes_are_named_after_those_whose_gradient_they_are():
    model = graph("h = Tanh (x)\ny = Sigmoid (h)")
    for node in model.graph:
        node.metadata_props[LAYER] = f"layer.{node.name}"
    add_gradient(model)
    found = [(node.name, node.metadata_props[LAYER]) for node in model.graph][2:]
    names = ["y/grad", "y/grad_2", "y/grad_3", "h/grad", "h/grad_2", "h/grad_3"]
    assert found == [(name, f"layer.{name[0]}/grad") for name in names]


def test_a_second_gradient_has_other_names():
    model = graph("y = Neg (x)")
    y, x = (value_of(model.graph, name) for name in "yx")
    model.graph.outputs[:] = [differentiate(model.graph, y, x, x) for _ in range(2)]
    assert [node.name for node in model.graph] == ["y", "y/grad", "y/grad_2"]


def test_everything_made_has_type_and_shape():
    model = graph("h = Reshape (x, s)\ng = Softmax (h)\ny = ReduceMean (g, axes)", s=[0, 3, 20], axes=[1])
    add_gradient(model)
    made = [node.outputs[0] for node in model.graph if "/grad" in node.name]
    assert all(value.dtype == ir.DataType.FLOAT for value in made)
    inferred = {node.outputs[0].name: node.outputs[0].shape for node in _inferred(model).graph}
    assert all(value.shape == inferred[value.name] for value in made)


def _inferred(model: ir.Model) -> ir.Model:
    """The same, with the shapes that ONNX finds."""
    proto = ir.to_proto(model)
    del proto.graph.value_info[:]
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True))


def test_equal_constants_stand_once():
    model = graph("g = Sigmoid (x)\nh = Tanh (g)\ny = Sigmoid (h)")
    add_gradient(model)
    assert len(model.graph.initializers) == 1


def test_it_must_depend():
    model = graph("h = Exp (x)\ny = Neg (h)")
    with pytest.raises(GateError, match="h does not depend on y: there is no gradient"):
        add_gradient(model, of="h", to="y")


KERNEL = np.ones((3, 3, 2, 2), np.float32)
REFUSED = {
    "unknown": ("y = Erf (x)", {}, "y, a Erf, has no gradient: its op has no rule"),
    "of a domain": ("y = ddgan.ReverseMean (x, x, c)", {"c": np.ones(7, np.float32)}, "y, a ddgan.ReverseMean, has no"),
    "dilations": ("y = Conv <dilations = [2, 1]> (x, w)", {"w": KERNEL}, r"y, a Conv, .*: dilations is \(2, 1\)"),
    "auto_pad": ('y = Conv <auto_pad = "SAME_UPPER"> (x, w)', {"w": KERNEL}, "y, a Conv, .*: auto_pad is SAME_UPPER"),
    "a kernel": (
        "f = Reshape (x, s)\ny = Conv (c, f)",
        {"c": np.ones((1, 3, 5, 5), np.float32), "s": [-1, 3, 5, 4]},
        "y, a Conv, .*: its input f depends on",
    ),
    "transA": ("y = Gemm <transA = 1> (x, x)", {}, "y, a Gemm, .*: "),
    "a vector": (
        "s = ReduceSum <keepdims = 0> (x, axes)\ny = MatMul (s, v)",
        {"v": np.ones(4, np.float32), "axes": [1, 2]},
        "y, a MatMul, .*: an operand is a vector",
    ),
    "an exponent": ("y = Pow (c, x)", {"c": np.float32(2)}, "y, a Pow, .*: its input x depends on"),
    "exponents": ("y = Pow (x, c)", {"c": np.ones((3, 1, 1), np.float32)}, r"y, a Pow, .* the shape \[3, 1, 1\]"),
    "overlap": ("y = AveragePool <kernel_shape = [2, 2]> (x)", {}, "y, a AveragePool, .*: its tiles overlap"),
    "ceil": (
        "y = AveragePool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x)",
        {},
        "y, a AveragePool, .*: ceil_mode is 1",
    ),
    "steps": (
        "y = Slice (x, a, b, axes, steps)",
        {"a": [0], "b": [4], "axes": [3], "steps": [2]},
        r"y, a Slice, .*: its steps are \[2\]",
    ),
    "indices": ("y = Gather <axis = 1> (x, i)", {"i": [0, 2]}, r"y, a Gather, .*: its index has the shape \[2\]"),
    "sum over the batch": ("y = ReduceSum (x, axes)", {"axes": [0]}, "y, a ReduceSum, .*: it works along a dynamic"),
    "sum over everything": ("y = ReduceMean (x)", {}, "y, a ReduceMean, .*: it works along a dynamic extent, batch"),
    "one for the batch": (
        "f = ReduceMean (x, axes)\ny = Mul (f, x)",
        {"axes": [0]},
        "y, a Mul, .*: it works along a dynamic extent, batch",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_rule_covers_is_named(name):
    nodes, constants, message = REFUSED[name]
    shape = {"transA": (3,)}.get(name, IMAGE)
    model = graph(nodes, shape, **constants)
    if (y := value_of(model.graph, "y")).shape is None:
        y.shape = ir.Shape(("batch", *IMAGE))
    with pytest.raises(GateError, match=message) as error:
        add_gradient(model)
    assert "\n" not in str(error.value)
