"""Transposed convolutions of stride 1, as the CPU engine rewrites them: what it takes, and what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ddgan_deploy.engines.onnxruntime.session import new_session
from ddgan_deploy.engines.onnxruntime.transposed import untranspose
from ddgan_deploy.engines.onnxruntime.weights import Weights

FORM = {"pads": [1, 1, 1, 1]}
RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.normal(size=(18, 20, 3, 3)).astype(np.float32)
X = RANDOM.normal(size=(2, 18, 9, 10)).astype(np.float32)


def _model(weight=WEIGHT, bias=False, group=1, **attributes):
    made = [numpy_helper.from_array(np.ascontiguousarray(weight), "w")]
    if bias:
        made.append(numpy_helper.from_array(RANDOM.normal(size=weight.shape[1]).astype(weight.dtype), "b"))
    inputs = ["x", *(tensor.name for tensor in made)]
    node = helper.make_node("ConvTranspose", inputs, ["y"], "named", group=group, **attributes)
    kind = made[0].data_type
    x = helper.make_tensor_value_info("x", kind, ["n", 18, 9, 10])
    graph = helper.make_graph([node], "graph", [x], [helper.make_empty_tensor_value_info("y")], made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _runs(model, library):
    content = model.SerializeToString()
    return [new_session(content, library=path).run(None, {"x": X})[0] for path in (library, None)]


@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize(
    ("kernel", "pads", "then"),
    [
        ((3, 3), [1, 1, 1, 1], [1, 1, 1, 1]),
        ((3, 3), [0, 1, 2, 0], [2, 1, 0, 2]),
        ((1, 1), [0, 0, 0, 0], [0, 0, 0, 0]),
        ((4, 2), [1, 0, 3, 1], [2, 1, 0, 0]),
    ],
)
def test_it_is_a_convolution(library, kernel, pads, then, bias):
    model = _model(RANDOM.normal(size=(18, 20, *kernel)).astype(np.float32), bias, pads=pads, kernel_shape=kernel)
    native, portable = _runs(model, library)
    np.testing.assert_allclose(native, portable, atol=1e-5 * np.abs(portable).max())
    assert untranspose(model, Weights(model, None)) == 1
    (node,) = model.graph.node
    (told,) = node.attribute
    assert (node.op_type, node.name, told.name, list(told.ints)) == ("Conv", "named", "pads", then)
    assert node.input[2] == ("b" if bias else "w/no bias")
    assert {tensor.name for tensor in model.graph.initializer} == {"w/turned", node.input[2]}


def test_padding_need_not_be_said(library):
    model = _model()
    native, portable = _runs(model, library)
    np.testing.assert_allclose(native, portable, atol=1e-5 * np.abs(portable).max())
    assert untranspose(model, Weights(model, None)) == 1


def test_one_weight_of_several_is_turned_once():
    model = _model(**FORM)
    model.graph.node.add().CopyFrom(model.graph.node[0])
    model.graph.node[1].output[0] = "z"
    model.graph.output.add().CopyFrom(helper.make_empty_tensor_value_info("z"))
    weights = Weights(model, None)
    assert untranspose(model, weights) == 2
    assert len(model.graph.initializer) == 2 and list(weights.made) == ["w/turned"]


def test_a_body_of_a_loop_is_rewritten(library):
    outer = _model(WEIGHT[:, :18], **FORM)
    inner = outer.graph.node[0]
    floats = ["n", 18, 9, 10]
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["goes_on"]), inner],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, floats),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("made", TensorProto.FLOAT, floats),
        ],
    )
    body.node[1].input[0], body.node[1].output[0] = "state", "made"
    outer.graph.initializer.append(numpy_helper.from_array(np.array(2), "trips"))
    del outer.graph.node[:]
    outer.graph.node.append(helper.make_node("Loop", ["trips", "", "x"], ["y"], body=body))
    native, portable = _runs(outer, library)
    np.testing.assert_allclose(native, portable, atol=1e-5 * np.abs(portable).max())
    assert untranspose(outer, Weights(outer, None)) == 1
    assert [node.op_type for node in outer.graph.node[0].attribute[0].g.node] == ["Identity", "Conv"]


@pytest.mark.parametrize(
    "change",
    [
        {"strides": [2, 1]},
        {"dilations": [1, 2]},
        {"output_padding": [0, 1], "strides": [1, 2]},
        {"auto_pad": "SAME_UPPER", "pads": None},
        {"output_shape": [9, 10], "pads": None},
        {"group": 2},
        {"pads": [3, 0, 0, 0]},
        {"weight": WEIGHT.astype(np.float16)},
        {"weight": WEIGHT.astype(np.float64)},
    ],
    ids=str,
)
def test_what_is_none_stays(change):
    form = {name: value for name, value in {**FORM, **change}.items() if value is not None}
    model = _model(**form)
    before = model.SerializeToString()
    assert untranspose(model, Weights(model, None)) == 0
    assert model.SerializeToString() == before


def test_weights_that_a_node_makes_stay():
    model = _model(**FORM)
    model.graph.node.insert(0, helper.make_node("Identity", ["w"], ["made"]))
    model.graph.node[1].input[1] = "made"
    assert untranspose(model, Weights(model, None)) == 0


def test_a_node_of_another_domain_stays():
    model = _model(**FORM)
    model.graph.node[0].domain = "other"
    assert untranspose(model, Weights(model, None)) == 0
    assert model.graph.node[0].op_type == "ConvTranspose"
