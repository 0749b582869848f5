"""Consistency models: graphs against a naive statement of the published sampler, and the whole way of an export."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.torch import save_file

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.cli import verify
from ddgan_deploy.engines import open_engine
from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime
from ddgan_deploy.export.options import ExportOptions
from ddgan_deploy.export.pipeline import build_graphs, export
from ddgan_deploy.export.recipe import Recipe
from ddgan_deploy.export.refit import RefitOptions, refit
from ddgan_deploy.progress import Clock
from tests.ddgan_deploy.families.consistency.process import inputs_of, sample
from tests.ddgan_deploy.families.consistency.small import CLASSES, PLAIN, TWO_STEPS, stored

NETWORKS = {"plain": PLAIN, "classes": CLASSES}
CLOSE = 1e-4
THREE_STEPS = {"ts": "0,4,7,10", "steps": 11, "sigma_max": 20.0}


def write(folder, it, process):
    """The checkpoint and its config."""
    save_file(stored(it), folder / "ct_small.safetensors")
    (folder / "config.json").write_text(json.dumps(it.arguments | process))
    return folder / "ct_small.safetensors", folder / "config.json"


FORMS = [
    ("plain", {}, True, "never"),
    ("classes", {}, True, "never"),
    ("plain", TWO_STEPS, True, "never"),
    ("plain", TWO_STEPS, True, "always"),
    ("classes", TWO_STEPS, True, "never"),
    ("classes", TWO_STEPS, True, "always"),
    ("classes", THREE_STEPS, False, "never"),
    ("plain", THREE_STEPS, False, "always"),
]


@pytest.fixture(scope="module", params=FORMS, ids=lambda form: f"{form[0]}-{form[1].get('ts', 'onestep')}-{form[3]}")
def case(request, tmp_path_factory):
    """The network, its graphs, what they are given, and the naive statement of that."""
    name, process, clip, loop = request.param
    folder = tmp_path_factory.mktemp(name)
    path, config = write(folder, NETWORKS[name], process | {"clip_denoised": clip})
    checkpoint, it = load_checkpoint(path, config), NETWORKS[name]
    recipe = Recipe(checkpoint, checkpoint.choose(), "fp32", loop=loop)
    manifest = build_graphs(folder, recipe, Clock())
    assert manifest.looped == (loop == "always")
    inputs = inputs_of(it, manifest.steps, count=3)
    label = inputs["label"][:, 0] if "label" in inputs else None
    expected = sample(it, inputs["x_T"], inputs.get("noise"), label, **process, clip=clip)
    return it, Artifact(folder, manifest), {key: value.numpy() for key, value in inputs.items()}, expected


def test_every_step_in_stock_onnxruntime(case):
    _, artifact, inputs, expected = case
    probes = artifact.manifest.probes
    states = {probe.node: expected[2 * probe.step + 1].float().numpy() for probe in probes if probe.state}
    with OnnxRuntime(artifact) as engine:
        values = engine.probe(inputs, [probe.node for probe in probes], states)
    assert len(probes) == len(expected) == 2 * artifact.manifest.steps
    for probe, ours, theirs in zip(probes, values, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=CLOSE, err_msg=probe.name)


@pytest.mark.parametrize("engine", ["onnxruntime-portable", "openvino-f32"])
def test_the_whole_way_alone_and_in_a_batch(case, engine):
    _, artifact, inputs, expected = case
    with open_engine(artifact, engine, 1) as opened:
        np.testing.assert_allclose(opened.sample(inputs), expected[-1], rtol=0, atol=CLOSE)
        alone = opened.sample({name: value[1:2] for name, value in inputs.items()})
        np.testing.assert_allclose(alone, expected[-1][1:2], rtol=0, atol=CLOSE)


def test_weights_are_stored_once(case):
    it, artifact, *_ = case
    stored_bytes = (artifact.path / "weights.bin").stat().st_size
    weights = sum(weight.numel() for weight in it.weights.values())
    assert stored_bytes < 1.1 * 4 * weights


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def exported(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    path, config = write(folder, CLASSES, TWO_STEPS)
    options = ExportOptions(path, 2, config=config, out=folder / "made", engine="none", fp16=request.param == "fp16")
    return export(options).artifact, path, config


def test_an_export_passes_its_gates(exported):
    artifact, *_ = exported
    manifest = artifact.manifest
    assert manifest.parity is not None and manifest.parity.passed
    names = {gate.name for gate in manifest.parity.gates}
    assert {"step 0 (sigma=80) output", "step 0 (sigma=80) state", "step 1 (sigma=1.382) x_0"} <= names
    assert [each.name for each in manifest.assumed] == ["training_mode", "sigma_min", "sigma_max"]
    page = (artifact.path / "report.html").read_text()
    assert "multistep, 0,22,39 of 40 levels" in page and "By label" in page


def test_the_label_and_the_seed_change_the_image(exported):
    with OnnxRuntime(exported[0]) as engine:
        drawn = engine.generate([3, 3, 3, 4], label=[1, 1, 2, 1])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any() and (drawn[0] != drawn[3]).any()


def test_a_verification_needs_no_config(exported, capsys):
    artifact, path, _ = exported
    assert verify.main([str(artifact.path), "--ckpt", str(path)]) == 0


def test_other_weights_go_in(exported, tmp_path):
    artifact = exported[0]
    folder, other = shutil.copytree(artifact.path, tmp_path / "made"), tmp_path / "cd_other.safetensors"
    save_file({name: value * 1.1 if value.dim() == 1 else value for name, value in stored(CLASSES).items()}, other)
    with OnnxRuntime(artifact) as before:
        old = before.generate([3], label=1)
    result = refit(RefitOptions(folder, other, fp16=artifact.manifest.precision == "fp16")).artifact
    assert result.manifest.parity is not None and result.manifest.parity.passed
    with OnnxRuntime(result) as after:
        assert (old != after.generate([3], label=1)).any()
