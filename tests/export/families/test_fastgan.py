"""FastGAN generators go the whole way: from a snapshot to engines, a repository and another training's weights."""

from __future__ import annotations

import dataclasses
import functools
import shutil

import numpy as np
import onnxruntime
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.artifact.manifest import SAMPLER
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.cli import verify as verify_command
from ddgan_deploy.engines.tensorrt.plan import RTX_PLAN, BatchProfile
from ddgan_deploy.export import ExportOptions, cli, export
from ddgan_deploy.export.tensorrt.options import EngineOptions
from ddgan_deploy.images import to_pixels
from ddgan_deploy.inputs import draw
from ddgan_deploy.parity.verify import verify
from tests.ddgan_deploy.families.fastgan.snapshots import GOLDEN, NETWORKS, random_state, write_snapshot

SEEDS = [3, 4, 5]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fastgan")


@pytest.fixture(scope="module")
def goldens(folder):
    """The golden snapshot's artifact of a precision."""
    return functools.cache(lambda precision: exported(GOLDEN / "snapshot.pkl", folder / precision, precision))


@pytest.fixture(params=["fp32", "fp16", "int8"])
def golden(request, goldens):
    """The golden snapshot's artifacts in turn."""
    return goldens(request.param)


@pytest.fixture(scope="module")
def classes(folder):
    """A conditional network's snapshot and artifact."""
    path = write_snapshot(folder / "classes.pkl", NETWORKS["classes"], random_state(NETWORKS["classes"]))
    return path, exported(path, folder / "classes")


def exported(path, out, precision="fp32", engine="none", **options):
    chosen = {"fp16": precision == "fp16", "int8": precision == "int8", "engine": engine}
    return export(ExportOptions(path, out=out, **chosen, **options)).artifact


def test_stock_onnx_runtime_draws_the_published_image(golden):
    io = np.load(GOLDEN / "io.npz")
    noises = {f"noise_{i}": io[f"noise_{i:02}"] for i in range(8)}
    inputs = {"z": io["z"][:, None], **noises}
    session = onnxruntime.InferenceSession(golden.path / SAMPLER, providers=["CPUExecutionProvider"])
    image = io["image"]
    tolerance = {"fp32": 5e-5, "fp16": 5e-3, "int8": 0.1}[golden.manifest.precision] * np.abs(image).max()
    for rows in ([0], [0, 1], [1, 0, 1, 1, 0]):
        (x_0,) = session.run(None, {name: value[rows] for name, value in inputs.items()})
        assert np.abs(x_0 - image[rows]).max() < tolerance


def test_its_gates_are_its_blocks(golden):
    parity = golden.manifest.parity
    assert parity is not None and parity.passed
    names = [gate.name for gate in parity.gates]
    assert names[1:7] == ["init", "feat_8", "feat_16", "feat_32", "feat_64", "x_0"]
    assert golden.manifest.steps == 1 and golden.manifest.family.name == "fastgan"
    page = (golden.path / "report.html").read_text(encoding="utf-8")
    assert "feat_16" in page and "random, in 8 layers" in page


@pytest.mark.parametrize("engine", ["onnxruntime", "onnxruntime-portable", "openvino-f32"])
def test_every_engine_draws_the_same(golden, library, engine):
    with open_artifact(golden.path, engine) as opened:
        images = opened.generate(SEEDS)
        x_0 = opened.sample(draw(golden.manifest.sampler, SEEDS))
        assert images.shape == (3, 64, 64, 3) and len({image.tobytes() for image in images}) == 3
        assert np.abs(images.astype(int) - to_pixels(x_0)).max() <= 1
        np.testing.assert_array_equal(images[1:2], opened.generate(SEEDS[1:2]))


@pytest.mark.parametrize("engine", ["onnxruntime", "onnxruntime-portable", "openvino-f32"])
def test_a_class_is_a_knob(classes, library, engine):
    _, artifact = classes
    sampler = artifact.manifest.sampler
    assert [knob.name for knob in sampler.knobs] == ["label"]
    assert [info.name for info in artifact.manifest.graphs["ddgan.onnx"].inputs] == ["seed", "label"]
    with open_artifact(artifact.path, engine) as opened:
        labels = draw(sampler, SEEDS)["label"]
        drawn = opened.generate(SEEDS)
        np.testing.assert_array_equal(drawn, opened.generate(SEEDS, label=labels))
        assert (opened.generate(SEEDS, label=(labels + 1) % 5) != drawn).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("name", ["32", "256", "lite", "classes, lite", "labels without effect"])
def test_every_form_is_exported(name, folder):
    config = NETWORKS[name]
    path = write_snapshot(folder / f"{config.img_resolution}.pkl", config, random_state(config))
    manifest = exported(path, folder / name, "fp16").manifest
    assert manifest.parity.passed
    assert manifest.sampler.image == config.image_shape
    assert [draw.name for draw in manifest.sampler.draws].count("noise_1") == (0 if config.lite else 1)


def test_the_commands_take_it(classes, folder, capsys):
    path, artifact = classes
    assert verify_command.main([str(artifact.path), "--ckpt", str(path)]) == 0
    assert "gates passed" in capsys.readouterr().out
    out = folder / "by command"
    command = ["--ckpt", str(path), "--out", str(out), "--engine", "none", "--no-verify"]
    assert cli.main([*command, "--noise", "random"]) == 0
    assert read_artifact(out).manifest.family == artifact.manifest.family
    shutil.rmtree(out)
    for wrong, says in (
        (["--noise", "const"], "--noise const does not go with"),
        (["--noise", "none"], "--noise none does not go with"),
        (["--steps", "4"], "--steps 4 is not for a FastGAN generator"),
    ):
        assert cli.main([*command, *wrong]) == 2
        assert says in capsys.readouterr().err and not out.exists()


def test_another_trainings_weights_are_refitted(classes, folder):
    _, artifact = classes
    config = NETWORKS["classes"]
    other = write_snapshot(folder / "other.pkl", config, random_state(config, seed=1))
    refitted = shutil.copytree(artifact.path, folder / "refitted")
    assert cli.main(["--refit", str(refitted), "--ckpt", str(other)]) == 0
    anew = exported(other, folder / "anew")
    images = []
    for each in (refitted, anew.path, artifact.path):
        with open_artifact(each, "onnxruntime-portable") as opened:
            images.append(opened.generate(SEEDS))
    np.testing.assert_array_equal(images[0], images[1])
    assert (images[0] != images[2]).any()


def test_the_repository_offers_the_class(classes):
    config = (classes[1].path / "model_repository" / "ddgan" / "config.pbtxt").read_text()
    assert 'name: "label"' in config and "optional: true" in config


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_rtx_builds_it(classes, folder, precision):
    pytest.importorskip("tensorrt_rtx_bindings")
    options = EngineOptions(profile=BatchProfile(1, 2, 4))
    out = folder / f"rtx-{precision}"
    artifact = exported(classes[0], out, precision, "tensorrt-rtx", engine_options=options, verify=False)
    assert (artifact.path / RTX_PLAN).stat().st_size > 0


@pytest.mark.parametrize(
    ("weight", "failed", "layer"),
    [
        ("feat_16.second.conv.weight", "feat_16", "feat_16.second.conv, or the layers between feat_16.first.conv and"),
        ("feat_32.first.noise.weight", "feat_32", "feat_32.second.conv, or the layers between feat_32.first.conv and"),
        ("to_big.weight", "x_0", "to_big, or the layers between se_64.excite and"),
    ],
)
def test_where_it_drifts_is_told(goldens, weight, failed, layer):
    checkpoint = load_checkpoint(GOLDEN / "snapshot.pkl")
    weights = {**checkpoint.weights, weight: checkpoint.weights[weight] * 3}
    result = verify(dataclasses.replace(checkpoint, weights=weights), open_artifact(goldens("fp32").path)).result
    assert result.failures[0].name == failed
    assert result.failures[0].where.startswith(layer)
