"""The portable engine's graphs, with function bodies put in their places: what ONNX Runtime computes from the files."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from ddgan_deploy.artifact.subgraphs import with_bodies
from ddgan_deploy.engines import open_artifact
from ddgan_deploy.engines.onnxruntime import engine
from ddgan_deploy.engines.onnxruntime.session import inlined, new_session
from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import draw
from ddgan_deploy.kernels.op import DOMAIN
from tests.export.conftest import export_golden


@pytest.fixture(params=["fp32", "fp16", "int8", "one Loop"])
def artifact(request, exports, biggan, tmp_path):
    if request.param == "one Loop":
        return export_golden(biggan, tmp_path, loop="always", verify=False).artifact
    return exports.golden(biggan, request.param)


def test_bits_are_those_of_the_files(artifact):
    inputs = draw(artifact.manifest.sampler, [3, 2**63 + 1])
    files = {name: str(artifact.path / f"{name}.onnx") for name in ("sampler", "ddgan")}
    stock = {name: onnxruntime.InferenceSession(file) for name, file in files.items()}
    with open_artifact(artifact.path, "onnxruntime-portable") as opened:
        np.testing.assert_array_equal(opened.sample(inputs), stock["sampler"].run(None, dict(inputs))[0])
        np.testing.assert_array_equal(
            opened.generate([3, 7]), stock["ddgan"].run(None, {"seed": np.array([[3], [7]])})[0]
        )


def test_no_op_of_ours_is_left(artifact):
    for name in ("sampler.onnx", "ddgan.onnx"):
        model = onnx.load_model_from_string(inlined(artifact.path / name))
        assert not model.functions
        assert all(node.domain != DOMAIN for graph in with_bodies(model.graph) for node in graph.node)


def test_gates_look_at_the_files_as_they_are(artifact, monkeypatch):
    asked = []

    def new_session(*arguments, inlines, **options):
        asked.append(inlines)
        raise InterruptedError

    monkeypatch.setattr(engine, "new_session", new_session)
    opened = open_artifact(artifact.path, "onnxruntime-portable")
    inputs = draw(artifact.manifest.sampler, [3])
    for run in (lambda: opened.sample(inputs), lambda: opened.probe(inputs, [artifact.manifest.probes[-1].node])):
        with pytest.raises(InterruptedError):
            run()
    assert asked == [True, False]


def test_what_cannot_be_read_is_left_to_onnx_runtime(tmp_path):
    damaged = tmp_path / "graph.onnx"
    damaged.write_bytes(b"\xff" * 100)
    assert inlined(damaged) == damaged and inlined(tmp_path / "none.onnx") == tmp_path / "none.onnx"
    assert inlined(b"\xff" * 100) == b"\xff" * 100
    # A function that calls itself has no body to put in its place.
    node = onnx.helper.make_node("Twice", ["x"], ["y"], domain=DOMAIN)
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid(DOMAIN, 1)]
    function = onnx.helper.make_function(DOMAIN, "Twice", ["x"], ["y"], [node], opsets)
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    graph = onnx.helper.make_graph([node], "graph", [x], [y])
    model = onnx.helper.make_model(graph, functions=[function], opset_imports=opsets).SerializeToString()
    assert inlined(model) == model
    with pytest.raises(InputError, match="cannot load the graph"):
        new_session(model, inlines=True)
