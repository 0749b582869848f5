"""Graphs of before with the ops of today: which nodes they get, and bit for bit the same results."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest

from ddgan_deploy.kernels.older import may_be_older, modernize
from tests.conftest import DATA

FILES = DATA / "format1" / "artifact"
GRAPH = """
    <ir_version: 10, opset_import: ["" : 20, "ddgan" : 1]>
    g (float16[n, 4, 8, 8] x, float[n, 4] s, float[n, 4, 8, 8] state) => (float[n, 4, 8, 8] y) {
        a = ddgan.AdaGN <groups = 2, activation = "none", plugin_namespace = "ddgan", epsilon = 1e-06> (x, s, s)
        b = ddgan.AdaGN <groups = 2, activation = "silu", plugin_namespace = "ddgan", epsilon = 1e-06> (a, s, s)
        c = ddgan.PosteriorSample <squash = "tanh", coef_x0 = 0.5, coef_xt = 0.25, sigma = 2.0> (b, state, state)
        y = ddgan.PosteriorSample <squash = "none", coef_x0 = 0.5, coef_xt = 0.25, sigma = 2.0> (c, state, state)
    }"""


def test_nodes():
    model = onnx.parser.parse_model(GRAPH)
    for number, node in enumerate(model.graph.node):
        node.name = f"step{number}/{node.op_type}"
    assert may_be_older(model.SerializeToString())
    assert modernize(model)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 9
    assert [(node.op_type, node.name) for node in model.graph.node] == [
        ("AdaGN", "step0/AdaGN"),
        ("AdaGNSilu", "step1/AdaGN"),
        ("Cast", "step2/x0/fp32"),
        ("Tanh", "step2/x0"),
        ("ReverseStep", "step2/PosteriorSample"),
        ("ReverseStep", "step3/PosteriorSample"),
    ]
    assert sorted(function.name for function in model.functions) == ["AdaGN", "AdaGNSilu", "ReverseStep"]
    assert not any(node.overload for node in (*model.graph.node, *model.functions))
    attributes = [{told.name for told in node.attribute} for node in model.graph.node]
    assert attributes[0] == attributes[1] == {"groups", "epsilon", "plugin_namespace"}
    assert attributes[-1] == {"plugin_namespace"}
    row = onnx.numpy_helper.to_array(model.graph.initializer[0])
    np.testing.assert_array_equal(row, np.array([0.5, 1, 0, -np.inf, np.inf, 0.25, 2], np.float32))
    assert not modernize(model) and not may_be_older(model.SerializeToString())


def test_an_attribute_that_is_missing():
    model = onnx.parser.parse_model(GRAPH.replace("sigma = 2.0", "tau = 2.0"))
    with pytest.raises(KeyError, match="sigma"):
        modernize(model)


@pytest.mark.parametrize("name", ["sampler.onnx", "ddgan.onnx"])
def test_a_file_computes_the_same(name):
    model = onnx.load(FILES / name)
    # This ONNX Runtime tells overloads apart.
    before = _run(model, name)
    assert modernize(model)
    np.testing.assert_array_equal(_run(model, name), before)


def _run(model: onnx.ModelProto, name: str) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rng, kind = np.random.default_rng(0), np.int64 if name == "ddgan.onnx" else np.float32
    shapes = {value.name: [2, *value.shape[1:]] for value in session.get_inputs()}
    return session.run(None, {key: (9 * rng.normal(size=shape)).astype(kind) for key, shape in shapes.items()})[0]
