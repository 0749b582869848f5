"""What the CPU engine makes of a graph before ONNX Runtime sees it."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from ddgan_deploy.engines.onnxruntime import native_graph as module
from ddgan_deploy.engines.onnxruntime.native_graph import native_graph
from tests.ddgan_deploy.engines.onnxruntime.test_conv3x3 import _chain


def test_what_cannot_be_read_is_handed_on(tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    for path in (damaged, tmp_path / "none.onnx"):
        assert native_graph(path, tmp_path) == (path, {})


def test_other_processors_keep_the_graph(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(_chain().SerializeToString())
    assert isinstance(native_graph(path, tmp_path).model, bytes)
    monkeypatch.setattr(module.platform, "machine", lambda: "aarch64")
    assert native_graph(path, tmp_path).model == path


@pytest.mark.parametrize("ends", [["x"], ["y"]])
def test_a_graph_that_takes_or_gives_float16_keeps_it(ends):
    types = [TensorProto.FLOAT16 if name in ends else TensorProto.FLOAT for name in ("x", "y")]
    x, y = (helper.make_tensor_value_info(name, dtype, [2]) for name, dtype in zip("xy", types, strict=True))
    graph = helper.make_graph([helper.make_node("Cast", ["x"], ["y"], to=types[1])], "graph", [x], [y])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString()
    assert native_graph(content, None).model == content
