"""OpenVINO runs the artifact's own sampler graph, and auto takes it where it should."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import onnx
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.artifact.manifest import SAMPLER, write_manifest
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.artifact.serving import Serving
from ddgan_deploy.cli import sample, verify
from ddgan_deploy.engines import openvino as engine_module
from ddgan_deploy.engines.openvino import OpenVino
from ddgan_deploy.errors import InputError
from ddgan_deploy.kernels.ops import openvino_converters
from ddgan_deploy.processor import instruction_sets

pytest.importorskip("openvino")


@pytest.fixture
def artifact(exported):
    return exported


def _named(artifact, folder, **changes):
    """A copy of the artifact whose manifest says otherwise."""
    copy = shutil.copytree(artifact, folder / "copy")
    manifest = dataclasses.replace(read_artifact(copy).manifest, **changes)
    write_manifest(copy, manifest)
    return copy


def test_it_computes_what_the_published_code_does(artifact, biggan):
    with open_artifact(artifact, "openvino-f32") as engine:
        x_0 = engine.sample(biggan.inputs)
    assert engine.name == "openvino-f32"
    np.testing.assert_allclose(x_0, biggan.io["x_prev"][-1], atol=2e-5)


def test_bf16_is_close_and_not_f32(artifact, biggan):
    """And is no other's name: where OpenVINO would compute in float32 it says so."""
    with open_artifact(artifact, "openvino-bf16") as engine:
        if "avx512f" in instruction_sets():
            apart = np.abs(engine.sample(biggan.inputs) - biggan.io["x_prev"][-1]).max()
            assert 1e-4 < apart < 0.1
        else:
            with pytest.raises(InputError, match="no bfloat16 on this processor.*choose openvino-f32"):
                engine.sample(biggan.inputs)


def test_one_seed_is_one_image_alone_and_in_any_batch(artifact):
    with open_artifact(artifact, "openvino-f32") as engine:
        batch = engine.generate([7, 1, -3, 2**63])
        for row, seed in enumerate([7, 1, -3, 2**63]):
            np.testing.assert_array_equal(engine.generate([seed])[0], batch[row])


def test_equal_images_on_one_thread_and_in_a_new_engine(artifact):
    with open_artifact(artifact, "openvino-f32", threads=1) as one, open_artifact(artifact, "openvino-f32") as all_:
        expected = all_.generate([0, 5])
        np.testing.assert_array_equal(one.generate([0, 5]), expected)
    # Closed, it opens itself anew.
    np.testing.assert_array_equal(one.generate([0, 5]), expected)


def test_pixels_are_those_of_onnx_runtime(artifact):
    images = [open_artifact(artifact, name).generate(range(4)) for name in ("openvino-f32", "onnxruntime-portable")]
    assert np.abs(images[0].astype(int) - images[1]).max() <= 1


def test_weights_that_are_written_over_change_no_image(artifact, tmp_path):
    copy = shutil.copytree(artifact, tmp_path / "copy")
    engine = open_artifact(copy, "openvino-f32")
    before = engine.generate([0])
    weights = copy / "weights.bin"
    weights.write_bytes(bytes(weights.stat().st_size))
    np.testing.assert_array_equal(engine.generate([0]), before)


def test_profile_names_the_graphs_nodes(artifact, biggan):
    with open_artifact(artifact, "openvino-f32") as engine:
        times = engine.profile(biggan.inputs)
    convolutions = [time for time in times if time.op_type.startswith("Convolution ")]
    assert len(convolutions) >= 4 * 20 and all(time.ms > 0 for time in convolutions)
    assert any(time.name.startswith("step3/") for time in convolutions)


def test_the_ops_are_those_of_the_graph(artifact):
    """Of today, and of files of before; noise is drawn beside OpenVINO."""
    made = {node.op_type for node in onnx.load(artifact / SAMPLER, load_external_data=False).graph.node}
    ours = {"AdaGN", "AdaGNSilu", "ReverseStep"}
    assert ours <= made and ours | {"PosteriorSample"} <= set(openvino_converters())


def test_verify_runs_its_gates(artifact, biggan, capsys):
    arguments = [str(artifact), "--ckpt", str(biggan.path), "--config", str(biggan.config), "--seeds", "0,1"]
    assert verify.main([*arguments, "--engine", "openvino-f32"]) == 0
    assert capsys.readouterr().out.endswith("gates passed on openvino-f32\n")
    assert verify.main([*arguments, "--engine", "openvino-bf16"]) == (1 if "avx512f" in instruction_sets() else 2)


# What auto takes


@pytest.fixture
def not_installed(monkeypatch):
    monkeypatch.setattr(engine_module, "installed", lambda: False)


def test_without_openvino_it_is_one_clear_line(artifact, not_installed, tmp_path, capsys):
    out = tmp_path / "a.png"
    assert sample.main([str(artifact), "--seeds", "0", "--engine", "openvino-f32", "--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        "error: engine openvino-f32 needs OpenVINO, which is not installed: pip install 'ddgan-deploy[openvino]'\n"
    )


def test_a_broken_openvino_is_one_clear_line(artifact, monkeypatch):
    def new_core():
        raise InputError("OpenVINO cannot be loaded (no libtbb): install it anew")

    monkeypatch.setattr(engine_module, "new_core", new_core)
    with pytest.raises(InputError, match="cannot be loaded"):
        open_artifact(artifact, "openvino-f32").generate([0])


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_graphs_run_on_our_kernels_and_without_them_on_openvino(artifact, library, tmp_path, monkeypatch, precision):
    path = _named(artifact, tmp_path, precision=precision)
    assert open_artifact(path).name == "onnxruntime"
    monkeypatch.setattr("ddgan_deploy.kernels.native_library.ort_library", lambda: None)
    assert open_artifact(path).name == "openvino-f32"


def test_with_neither_the_portable_path_is_taken(artifact, not_installed, monkeypatch):
    monkeypatch.setattr("ddgan_deploy.kernels.native_library.ort_library", lambda: None)
    assert open_artifact(artifact).name == "onnxruntime-portable"


def test_the_artifacts_own_choice_comes_first(artifact, tmp_path):
    path = _named(artifact, tmp_path, serving=Serving(cpu_engine="onnxruntime-portable"))
    assert open_artifact(path).name == "onnxruntime-portable"
    assert isinstance(open_artifact(path, "openvino-f32"), OpenVino)


def test_a_choice_that_is_not_installed_is_passed_over(artifact, library, tmp_path, not_installed):
    path = _named(artifact, tmp_path, serving=Serving(cpu_engine="openvino-f32"))
    assert open_artifact(path).name == "onnxruntime"
