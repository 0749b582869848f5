"""What the exported files are: signatures, nodes, shared weights, metadata."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from ddgan_deploy.images import to_pixels
from ddgan_deploy.inputs import draw

STEPS = 4
RES_BLOCKS = 10


@pytest.fixture(scope="module")
def models(biggan_fp32):
    folder = biggan_fp32.path
    return {name: onnx.load(folder / name, load_external_data=False) for name in ("sampler.onnx", "ddgan.onnx")}


def _signature(values):
    return [
        (
            v.name,
            v.type.tensor_type.elem_type,
            [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim],
        )
        for v in values
    ]


def test_sampler_signature(models):
    graph = models["sampler.onnx"].graph
    assert _signature(graph.input) == [
        ("x_T", TensorProto.FLOAT, ["batch", 3, 32, 32]),
        ("z", TensorProto.FLOAT, ["batch", 4, 16]),
        ("noise", TensorProto.FLOAT, ["batch", 3, 3, 32, 32]),
    ]
    assert _signature(graph.output) == [("x_0", TensorProto.FLOAT, ["batch", 3, 32, 32])]


def test_served_signature(models):
    graph = models["ddgan.onnx"].graph
    assert _signature(graph.input) == [("seed", TensorProto.INT64, ["batch", 1])]
    assert _signature(graph.output) == [("image", TensorProto.UINT8, ["batch", 32, 32, 3])]


def test_fused_ops_and_how_often(models):
    counts = {
        name: Counter(node.op_type for node in model.graph.node if node.domain == "ddgan")
        for name, model in models.items()
    }
    # Two a ResBlock and the last normalization end in an activation, one an attention block (3) does not; every step.
    norms = {"AdaGNSilu": STEPS * (2 * RES_BLOCKS + 1), "AdaGN": STEPS * 3}
    assert counts["sampler.onnx"] == {**norms, "ReverseStep": STEPS - 1}
    assert counts["ddgan.onnx"] == {**norms, "ReverseStep": STEPS - 1, "PhiloxNormal": 2 * STEPS}


def test_fused_nodes_carry_their_namespace_and_definition(models):
    for model in models.values():
        assert model.ir_version == 9 and not any(f.overload for f in model.functions)
        functions = {(f.domain, f.name) for f in model.functions}
        for node in model.graph.node:
            if node.domain == "ddgan":
                attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
                assert attributes["plugin_namespace"] == b"ddgan"
                assert ("ddgan", node.op_type) in functions and not node.overload
        assert {f.opset_import[0].version for f in model.functions} == {model.opset_import[0].version}


def test_conditioning_runs_once_for_all_steps(models):
    """No time path is left, and there is one product for all style layers."""
    graph = models["sampler.onnx"].graph
    assert not any("Dense_0" in initializer.name for initializer in graph.initializer)
    names = [node.name for node in graph.node]
    assert sum("z_transform" in name or name.startswith("style/") for name in names) < 30
    assert not any(name.startswith("step") and "z_transform" in name for name in names)
    assert sum(node.op_type == "MatMul" and node.name.startswith("style") for node in graph.node) == 1


def test_time_bias_is_part_of_the_convolutions(models):
    graph = models["sampler.onnx"].graph
    biases = [i.name for i in graph.initializer if i.name.endswith("Conv_0.bias") and i.name.startswith("step")]
    assert len(biases) == STEPS * RES_BLOCKS


def test_weights_are_stored_once(biggan_fp32, models):
    manifest = biggan_fp32.manifest
    assert manifest.files["weights.bin"].bytes <= 1.0 * 4 * manifest.checkpoint.parameters
    assert sum(info.bytes for info in manifest.files.values()) <= 1.1 * 4 * manifest.checkpoint.parameters
    places = {
        name: {
            i.name: tuple((e.key, e.value) for e in i.external_data)
            for i in model.graph.initializer
            if i.data_location == TensorProto.EXTERNAL
        }
        for name, model in models.items()
    }
    assert places["sampler.onnx"] == places["ddgan.onnx"]
    offsets = [dict(place)["offset"] for place in places["sampler.onnx"].values()]
    assert len(set(offsets)) == len(offsets)


def test_fp16_weights_are_half(biggan_fp32, biggan_fp16):
    full, half = (each.manifest.files["weights.bin"].bytes for each in (biggan_fp32, biggan_fp16))
    assert half <= 0.51 * full


def test_metadata_says_what_the_file_is(biggan_fp32, models):
    for model in models.values():
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert metadata["steps"] == "4"
        assert metadata["checkpoint_sha256"] == biggan_fp32.manifest.checkpoint.sha256
        assert json.loads(metadata["sampling"])["beta_max"] == 20
        assert metadata["ddgan_deploy_version"]


def test_files_run_anywhere_in_stock_onnx_runtime(biggan_fp32, tmp_path):
    """Without our package: the files alone, moved elsewhere, at several batch sizes."""
    for name in ("sampler.onnx", "ddgan.onnx", "weights.bin"):
        (tmp_path / name).write_bytes((biggan_fp32.path / name).read_bytes())
    sampler, served = (
        onnxruntime.InferenceSession(str(tmp_path / name), providers=["CPUExecutionProvider"])
        for name in ("sampler.onnx", "ddgan.onnx")
    )
    for seeds in ([7], [1, 2, 3]):
        inputs = draw(biggan_fp32.manifest.sampler, seeds)
        (x_0,) = sampler.run(None, inputs)
        (image,) = served.run(None, {"seed": np.array(seeds, np.int64)[:, None]})
        assert np.abs(image.astype(int) - to_pixels(x_0).astype(int)).max() <= 1


def test_manifest_describes_the_files(biggan_fp32, models):
    manifest = json.loads((biggan_fp32.path / "manifest.json").read_text())
    assert manifest["graphs"]["sampler.onnx"]["nodes"] == len(models["sampler.onnx"].graph.node)
    assert manifest["graphs"]["ddgan.onnx"]["inputs"] == [{"name": "seed", "dtype": "int64", "shape": ["batch", 1]}]
    assert manifest["family"]["model"]["ch_mult"] == [1, 2]
    assert manifest["steps"] == manifest["family"]["sampling"]["steps"] == manifest["sampler"]["steps"] == 4
    assert manifest["parity"]["gates"]
    assert all(gate["passed"] for gate in manifest["parity"]["gates"])
    names = {path.name for path in biggan_fp32.path.iterdir()}
    assert names == {
        "sampler.onnx",
        "ddgan.onnx",
        "weights.bin",
        "manifest.json",
        "report.html",
        "samples.png",
        "model_repository",
    }
