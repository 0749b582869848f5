"""Depthwise convolutions that resample by two, as the CPU engine rewrites them: what it takes, and what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ddgan_deploy.engines.onnxruntime.graph import infer
from ddgan_deploy.engines.onnxruntime.resample import resample
from ddgan_deploy.engines.onnxruntime.session import new_session
from ddgan_deploy.engines.onnxruntime.weights import Weights

FIR = np.outer([1, 3, 3, 1], [1, 3, 2, 1]) / 64
FORM = {"strides": [2, 2], "pads": [1, 1, 1, 1], "group": 6}
TYPES = {"ConvTranspose": "ResampleUp", "Conv": "ResampleDown"}


def _model(op_type, kernel=FIR, weight=None, bias=False, **attributes):
    weight = np.broadcast_to(kernel, (6, 1, *np.shape(kernel))) if weight is None else weight
    initializers = [
        numpy_helper.from_array(np.ascontiguousarray(weight, np.float32), "w"),
        numpy_helper.from_array(np.arange(6, dtype=np.float32), "b"),
    ]
    inputs = ["x", "w", *(["b"] if bias else [])]
    node = helper.make_node(op_type, inputs, ["y"], "named", **{**FORM, **attributes})
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6, 8, 10])
    graph = helper.make_graph([node], "graph", [x], [helper.make_empty_tensor_value_info("y")], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _resample(model):
    return resample(model, Weights(model, None), infer(model).shapes)


@pytest.mark.parametrize("op_type", TYPES)
@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize("kernel", [FIR, -FIR, FIR.T, np.outer([0, 1e-20, 0, 1e20], [1, 0, 0, 2])], ids=range(4))
def test_a_separable_filter_is_taken(library, op_type, bias, kernel):
    model = _model(op_type, kernel, bias=bias)
    x = np.random.default_rng(0).normal(size=(3, 6, 8, 10)).astype(np.float32)
    native, portable = (
        new_session(model.SerializeToString(), library=path).run(None, {"x": x})[0] for path in (library, None)
    )
    np.testing.assert_allclose(native, portable, atol=2e-6 * np.abs(portable).max())
    assert _resample(model) == 1
    (node,) = model.graph.node
    assert (node.op_type, node.name, len(node.input)) == (TYPES[op_type], "named", 1 + bias)
    assert [tensor.name for tensor in model.graph.initializer] == ["b"] * bias


@pytest.mark.parametrize("op_type", TYPES)
@pytest.mark.parametrize(
    "change",
    [
        {"kernel": FIR + np.eye(4) * 1e-3},
        {"weight": np.stack([FIR * (1 + c) for c in range(6)])[:, None]},
        {"kernel": np.zeros((4, 4))},
        {"kernel": np.ones((2, 2)), "pads": [0, 0, 0, 0]},
        {"strides": [2, 1]},
        {"pads": [2, 2, 2, 2]},
        {"dilations": [2, 2]},
        {"auto_pad": "SAME_UPPER"},
    ],
    ids=["rank-two", "channels-differ", "nothing", "2x2", "strides", "pads", "dilations", "auto-pad"],
)
def test_others_stay(op_type, change):
    model = _model(op_type, **change)
    before = model.SerializeToString()
    assert _resample(model) == 0
    assert model.SerializeToString() == before


def test_more_rows_at_the_end_stay():
    assert _resample(_model("ConvTranspose", output_padding=[1, 1])) == 0
