"""The rewriting that the CPU engine does when it opens a graph: what it takes, and what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ddgan_deploy.engines.onnxruntime.conv3x3 import specialize
from ddgan_deploy.engines.onnxruntime.session import new_session

SHAPE = (2, 16, 8, 8)
PADS = {"pads": [1, 1, 1, 1]}


def _initializer(name, *shape, dtype=np.float32):
    values = np.random.default_rng(0).normal(size=shape) / 12
    return numpy_helper.from_array(values.astype(dtype), name)


def _model(nodes, initializers, outputs=("y",), extents=("n", *SHAPE[1:])):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, extents) for name in ("x", "r")]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(nodes, "graph", values, results, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _conv(**attributes):
    return helper.make_node("Conv", ["x", "w", "b"], ["c"], **{**PADS, **attributes})


def _chain(*more, weight=None, bias=None, **options):
    """conv, then what follows it."""
    initializers = [
        weight or _initializer("w", 16, 16, 3, 3),
        bias or _initializer("b", 16),
        _initializer("s", 1),
        _initializer("v", 16, 1, 1),
    ]
    nodes = more or (helper.make_node("Identity", ["c"], ["y"]),)
    return _model([_conv(), *nodes], initializers, **options)


def _types(model):
    return [node.op_type for node in model.graph.node]


def _same_results(model, library):
    """The rewritten model by the native library, and the model as it was by stock ONNX Runtime."""
    content = model.SerializeToString()
    x, r = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)
    inputs = {value.name: {"x": x, "r": r}[value.name] for value in model.graph.input}
    native, portable = (new_session(content, library=path).run(None, inputs) for path in (library, None))
    for mine, theirs in zip(native, portable, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


ADD, ADD_LEFT = (helper.make_node("Add", pair, ["a"]) for pair in (["c", "r"], ["r", "c"]))
MUL = helper.make_node("Mul", ["s", "a"], ["y"])


@pytest.mark.parametrize(
    ("nodes", "inputs"),
    [
        ([ADD, MUL], 4),
        ([ADD_LEFT, helper.make_node("Mul", ["a", "s"], ["y"])], 4),
        ([helper.make_node("Add", ["c", "r"], ["y"])], 4),
        ([helper.make_node("Mul", ["c", "s"], ["y"])], 3),
    ],
    ids=["add-mul", "left", "add", "mul"],
)
def test_what_follows_joins(library, nodes, inputs):
    model = _chain(*nodes)
    _same_results(model, library)
    assert specialize(model) == 1
    (node,) = model.graph.node
    assert (node.op_type, len(node.input), list(node.output)) == ("Conv3x3", inputs, ["y"])


@pytest.mark.parametrize(
    ("nodes", "outputs", "rest"),
    [
        # Both the convolution's own result and the sum are read elsewhere.
        ([ADD, MUL], ("y", "c"), ["Add", "Mul"]),
        ([ADD, MUL], ("y", "a"), ["Mul"]),
        ([ADD, MUL, helper.make_node("Neg", ["c"], ["d"])], ("y", "d"), ["Add", "Mul", "Neg"]),
        # The sum of one value with itself, an Add that spreads one of its inputs, a Mul by many numbers.
        ([helper.make_node("Add", ["c", "c"], ["y"])], ("y",), ["Add"]),
        ([helper.make_node("Add", ["c", "s"], ["y"])], ("y",), ["Add"]),
        ([helper.make_node("Mul", ["c", "r"], ["y"])], ("y",), ["Mul"]),
        ([helper.make_node("Mul", ["c", "v"], ["y"])], ("y",), ["Mul"]),
    ],
    ids=["conv-read", "sum-read", "conv-read-by-node", "twice", "broadcast", "mul-tensor", "mul-vector"],
)
def test_what_others_read_stays(library, nodes, outputs, rest):
    model = _chain(*nodes, outputs=outputs)
    _same_results(model, library)
    assert specialize(model) == 1
    assert _types(model) == ["Conv3x3", *rest]


@pytest.mark.parametrize("extents", [("n", 1, 8, 8), ("n", 16, 1, 8), (1, 16, 8, 8)], ids=str)
def test_a_sum_over_which_one_side_is_spread_stays(extents):
    model = _chain(helper.make_node("Add", ["c", "q"], ["y"]))
    model.graph.input.append(helper.make_tensor_value_info("q", TensorProto.FLOAT, extents))
    assert specialize(model) == 1
    assert _types(model) == ["Conv3x3", "Add"]


def test_a_sum_with_another_number_of_images_stays():
    model = _chain(helper.make_node("Add", ["c", "q"], ["y"]), extents=(2, 16, 8, 8))
    model.graph.input.append(helper.make_tensor_value_info("q", TensorProto.FLOAT, (1, 16, 8, 8)))
    assert specialize(model) == 1
    assert _types(model) == ["Conv3x3", "Add"]


def test_two_convolutions_do_not_take_one_sum_twice(library):
    other = helper.make_node("Conv", ["x", "w", "b"], ["e"], **PADS)
    model = _chain(other, helper.make_node("Add", ["e", "c"], ["y"]))
    _same_results(model, library)
    assert specialize(model) == 2
    assert [(node.op_type, len(node.input)) for node in model.graph.node] == [("Conv3x3", 3), ("Conv3x3", 4)]


def test_a_residual_that_comes_later_is_there(library):
    late = helper.make_node("Neg", ["r"], ["late"])
    model = _chain(late, helper.make_node("Add", ["late", "c"], ["y"]))
    _same_results(model, library)
    assert specialize(model) == 1
    assert _types(model) == ["Neg", "Conv3x3"]


@pytest.mark.parametrize(
    "change",
    [
        {"conv": {"pads": [0, 0, 0, 0]}},
        {"conv": {"strides": [2, 2]}},
        {"conv": {"dilations": [2, 2], "pads": [2, 2, 2, 2]}},
        {"conv": {"group": 2}, "weight": (16, 8, 3, 3)},
        {"weight": (16, 16, 1, 1)},
        {"weight": (15, 16, 3, 3)},
        {"extents": ("n", 16, 8, 7)},
        {"extents": ("n", 16, "h", "w")},
        {"extents": ("n", 12, 8, 8), "weight": (16, 12, 3, 3)},
        {"dtype": np.float16},
    ],
    ids=str,
)
def test_other_convolutions_stay(change):
    shape = change.get("weight", (16, 16, 3, 3))
    dtype = change.get("dtype", np.float32)
    model = _chain(
        weight=_initializer("w", *shape, dtype=dtype),
        bias=_initializer("b", shape[0], dtype=dtype),
        extents=change.get("extents", ("n", *SHAPE[1:])),
    )
    model.graph.node[0].CopyFrom(_conv(**change.get("conv", {})))
    before = model.SerializeToString()
    assert specialize(model) == 0
    assert model.SerializeToString() == before


def test_weights_that_are_computed_stay():
    model = _chain(helper.make_node("Identity", ["c"], ["y"]))
    model.graph.node[0].input[1] = "computed"
    model.graph.node.insert(0, helper.make_node("Neg", ["w"], ["computed"]))
    assert specialize(model) == 0
