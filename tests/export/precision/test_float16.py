"""fp16: what becomes half, what stays, and why."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from ddgan_deploy import open_artifact
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.inputs import draw


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Value name -> element type, by ONNX's own inference through the function bodies."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    graph = inferred.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    return {v.name: v.type.tensor_type.elem_type for v in values} | {i.name: i.data_type for i in graph.initializer}


def test_where_fp16_ends(biggan_fp16):
    model = onnx.load(biggan_fp16.path / "sampler.onnx")
    types = _types(model)
    for node in model.graph.node:
        floats = {types[name] for name in (*node.input, *node.output) if types.get(name) in (1, 10)}
        if node.op_type in ("Conv", "ConvTranspose", "Softmax", "AdaGN", "Concat") or node.op_type == "MatMul":
            assert floats == {TensorProto.FLOAT16}, node.name
        elif (
            (node.op_type != "Cast" and node.name.startswith("z_transform.0"))
            or node.op_type in ("Tanh", "ReverseStep")
            or node.name.endswith("/noise")
        ):
            assert floats == {TensorProto.FLOAT}, node.name


def test_casts_stand_only_at_the_borders(biggan_fp16):
    """For the state and the last activation a step, and for the latent."""
    model = onnx.load(biggan_fp16.path / "sampler.onnx", load_external_data=False)
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    assert len(casts) == 4 + 4 + 1


def test_all_weights_are_half(biggan_fp16):
    model = onnx.load(biggan_fp16.path / "ddgan.onnx", load_external_data=False)
    external = [i for i in model.graph.initializer if i.data_location == TensorProto.EXTERNAL]
    assert external
    assert {i.data_type for i in external} == {TensorProto.FLOAT16}
    assert biggan_fp16.manifest.kept_fp32 == ()


def _rescaled(biggan, tmp_path, factor, key="all_modules.8.Conv_0"):
    """The golden checkpoint with one convolution scaled; the normalization after it hides the factor."""
    state = torch.load(biggan.path, weights_only=True)
    prefix = "module." if next(iter(state)).startswith("module.") else ""
    for name in ("weight", "bias"):
        state[f"{prefix}{key}.{name}"] *= factor
    dense = key.replace("Conv_0", "Dense_0")
    for name in ("weight", "bias"):
        state[f"{prefix}{dense}.{name}"] *= factor
    path = tmp_path / f"scaled-{factor:g}.pth"
    torch.save(state, path)
    return path


@pytest.mark.parametrize(
    ("factor", "reason"),
    [
        pytest.param(1e7, "the weight", id="weight"),
        pytest.param(3e4, "the output of", id="activation"),
        pytest.param(1e-7, "loses", id="subnormal"),
    ],
)
def test_a_layer_that_fp16_cannot_hold_stays_fp32(biggan, tmp_path, factor, reason):
    path = _rescaled(biggan, tmp_path, factor)
    result = export(ExportOptions(path, 2, fp16=True, out=tmp_path / "out", engine="none"))
    manifest = result.artifact.manifest
    assert manifest.parity is not None and manifest.parity.passed
    layers = {kept.layer: kept.reason for kept in manifest.kept_fp32}
    assert reason in layers["all_modules.8.Conv_0"]
    assert len(layers) <= 3
    report = (result.artifact.path / "report.html").read_text()
    assert "all_modules.8.Conv_0" in report
    assert open_artifact(result.artifact.path).generate([0]).std() > 0


def test_kept_layers_are_fp32_at_every_step_and_stored_once(biggan, tmp_path):
    path = _rescaled(biggan, tmp_path, 3e4)
    result = export(ExportOptions(path, 2, fp16=True, out=tmp_path / "out", engine="none"))
    model = onnx.load(result.artifact.path / "sampler.onnx", load_external_data=False)
    data_types = {i.name: i.data_type for i in model.graph.initializer}
    weights = [n.input[1] for n in model.graph.node if n.name.endswith("all_modules.8.Conv_0")]
    assert len(weights) == 2
    assert len(set(weights)) == 1
    assert data_types[weights[0]] == TensorProto.FLOAT
    assert not any(i.name.startswith("all_modules.8.Conv_0.weight.") for i in model.graph.initializer)


def test_fp16_noise_is_the_fp32_noise(biggan_fp32, biggan_fp16):
    """The same seeds draw the same x_T: images differ by rounding alone."""
    full, half = (open_artifact(each.path).generate(range(4)) for each in (biggan_fp32, biggan_fp16))
    assert np.abs(full.astype(int) - half.astype(int)).max() <= 8
    inputs = draw(biggan_fp16.manifest.sampler, [0])
    assert {value.dtype for value in inputs.values()} == {np.dtype(np.float32)}
