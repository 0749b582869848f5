"""ADM: golden cases step by step in stock ONNX Runtime, the whole way of an export, and what a proof leaves out."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from ddgan_deploy.artifact.manifest import SAMPLER, Artifact
from ddgan_deploy.artifact.subgraphs import with_bodies
from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.cli import verify
from ddgan_deploy.engines import open_engine
from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime
from ddgan_deploy.engines.onnxruntime.native_graph import native_graph
from ddgan_deploy.errors import InputError
from ddgan_deploy.export.options import ExportOptions
from ddgan_deploy.export.pipeline import build_graphs, export
from ddgan_deploy.export.recipe import Recipe
from ddgan_deploy.export.refit import RefitOptions, refit
from ddgan_deploy.inputs import draw
from ddgan_deploy.parity import budget
from ddgan_deploy.parity.verify import reference_values
from ddgan_deploy.progress import Clock
from ddgan_deploy.serving.backend.heartbeat import Heartbeat
from ddgan_deploy.serving.python_backend import EngineModel
from tests.ddgan_deploy.families.adm.golden import SMALL, adm_case
from tests.ddgan_deploy.serving.backend import fake_backend_utils as fake

GUIDED = "guided_ddim"


@pytest.fixture(scope="module", params=SMALL)
def case(request):
    return adm_case(request.param)


@pytest.fixture(scope="module")
def checkpoint(case, tmp_path_factory):
    return case.load(tmp_path_factory.mktemp("adm"))


@pytest.fixture(scope="module", params=["never", "always"])
def engine(request, checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    manifest = build_graphs(folder, Recipe(checkpoint, checkpoint.choose(), "fp32", loop=request.param), Clock())
    assert manifest.looped == (request.param == "always")
    with OnnxRuntime(Artifact(folder, manifest)) as engine:
        yield engine


def test_every_step_is_the_published_codes(case, engine):
    """From the state that the published code has before it."""
    probes = engine.artifact.manifest.probes
    states = {probe.node: case.io["x_prev"][probe.step] for probe in probes if probe.state}
    values = engine.probe(case.inputs(), [probe.node for probe in probes], states)
    assert len(probes) == (3 if case.is_guided else 2) * engine.artifact.manifest.steps
    for probe, value in zip(probes, values, strict=True):
        expected = case.io["x_prev" if probe.value == "x_0" else probe.value][probe.step]
        limit = {"eps": 1e-5, "gradient": 5e-6 * np.abs(expected).max()}.get(probe.value, 1e-4 * probe.scale)
        assert np.abs(value - expected).max() < limit, probe.name


def test_the_whole_way_alone_and_in_a_batch(case, engine):
    inputs = case.inputs()
    x_0 = engine.sample(inputs)
    np.testing.assert_allclose(x_0, case.io["x_prev"][-1], atol=1e-4)
    five = engine.sample({name: np.concatenate([value, value, value[:1]]) for name, value in inputs.items()})
    alone = engine.sample({name: value[1:] for name, value in inputs.items()})
    np.testing.assert_allclose(five, np.concatenate([x_0, x_0, x_0[:1]]), atol=1e-4)
    np.testing.assert_allclose(alone, x_0[1:], atol=1e-4)


@pytest.mark.parametrize("engine", ["always"], indirect=True)
def test_openvino_draws_the_same(case, engine):
    """It arranges a square weight for one op that reads it, and has others run with that: see `gradient`."""
    with open_engine(engine.artifact, "openvino-f32", 2) as other:
        np.testing.assert_allclose(other.sample(case.inputs()), case.io["x_prev"][-1], atol=1e-4)


def test_250_steps_are_one_loop(tmp_path):
    """As published for DDPM; what PyTorch draws in as many."""
    case = adm_case("guided_ddpm")
    config = tmp_path / "args.json"
    config.write_text(json.dumps(case.args | {"timestep_respacing": "250"}))
    path, asked = case.write(tmp_path)
    checkpoint = load_checkpoint(path, config, asked=asked)
    sampling = checkpoint.choose()
    manifest = build_graphs(tmp_path, Recipe(checkpoint, sampling, "fp32"), Clock())
    assert manifest.looped and manifest.steps == 250
    inputs = draw(manifest.sampler, [3], {"label": 7, "guidance": 2})
    expected = reference_values(checkpoint.reference(sampling), inputs)[-1]
    with OnnxRuntime(Artifact(tmp_path, manifest)) as engine:
        np.testing.assert_allclose(engine.sample(inputs), expected, atol=1e-3)
    # In the body, the UNet's. The classifier's gradient reads the softmax of its own three, and of its logits.
    assert _attention(tmp_path) == (4, 4)


def test_weights_are_stored_once(checkpoint, engine):
    """Those of both networks, and little besides: rows of tables, and their scales and shifts in one product."""
    stored = (engine.artifact.path / "weights.bin").stat().st_size
    assert stored < 1.1 * 4 * sum(weight.numel() for weight in checkpoint.weights.values())


def _attention(folder):
    """How often the CPU engine has it as one node, and how many other softmaxes."""
    model = onnx.load_model_from_string(native_graph(folder / SAMPLER, folder).model)
    types = Counter(node.op_type for graph in with_bodies(model.graph) for node in graph.node)
    return types["Attention"], types["Softmax"]


FP32 = pytest.mark.parametrize("guided", [False], indirect=True, ids=["fp32"])
FP16 = pytest.mark.parametrize("guided", [True], indirect=True, ids=["fp16"])
"""For what one precision tells of the other."""


@pytest.fixture(scope="module", params=[False, True], ids=["fp32", "fp16"])
def guided(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("guided")
    case = adm_case(GUIDED)
    path, asked = case.write(folder)
    options = ExportOptions(
        path, config=case.config, out=folder / "made", engine="none", asked=asked, fp16=request.param
    )
    return export(options).artifact, path, asked["classifier"], case


def test_an_export_passes_its_gates(guided):
    artifact = guided[0]
    parity = artifact.manifest.parity
    assert parity is not None and parity.passed
    assert {"step 0 (t=800) gradient", "step 4 (t=0) x_0"} <= {gate.name for gate in parity.gates}
    page = (artifact.path / "report.html").read_text()
    assert "By guidance" in page and "By label" in page and "Not drawn" not in page


def test_the_cpu_engine_fuses_the_unets_attention(guided):
    """One a step. The classifier's gradient reads the softmax of its own four, and of its logits."""
    assert _attention(guided[0].path) == (5, 25)


def test_knobs_change_the_image(guided):
    with OnnxRuntime(guided[0]) as engine:
        plain = engine.generate([3, 3, 3, 3], label=[1, 1, 2, 1], guidance=[1.0, 1.0, 1.0, 8.0])
    np.testing.assert_array_equal(plain[0], plain[1])
    assert (plain[0] != plain[2]).any() and (plain[0] != plain[3]).any()


def test_a_verification_wants_the_classifier_again(guided, capsys):
    artifact, path, classifier, case = guided
    line = [str(artifact.path), "--ckpt", str(path), "--config", str(case.config)]
    assert verify.main(line) == 2
    assert "was exported with a classifier: give it again by --classifier FILE" in capsys.readouterr().err
    assert verify.main([*line, "--classifier", str(classifier)]) == 0


def test_an_image_that_takes_too_long_is_proven_by_single_steps(tmp_path, monkeypatch):
    """Each from the state that the reference leaves the one before it with; no picture is drawn, as the report says."""
    monkeypatch.setattr(budget, "MOST_OF_AN_IMAGE", 0.1)
    monkeypatch.setattr(budget.affordable, "__defaults__", (0.5,))
    case = adm_case("guided_ddpm")
    path, asked = case.write(tmp_path)
    made = export(
        ExportOptions(path, config=case.config, out=tmp_path / "made", engine="none", asked=asked, loop="always")
    ).artifact
    parity = made.manifest.parity
    assert parity is not None and parity.passed and made.manifest.gflops > 0.5
    assert [row.step for row in parity.probes] == [0, 0, 0, 2, 2, 2, 4, 4, 4]
    assert not (made.path / "samples.png").exists()
    assert "Not drawn" in (made.path / "report.html").read_text()


@pytest.mark.parametrize("fp16", [False, True], ids=["fp32", "fp16"])
def test_an_upsampler_passes_its_gates(tmp_path, fp16):
    """Its first step makes an error of the noise 44 times larger; what arrives has a limit of its own."""
    case = adm_case("upsampler")
    path, _ = case.write(tmp_path)
    options = ExportOptions(path, config=case.config, out=tmp_path / "made", engine="none", loop="always", fp16=fp16)
    parity = export(options).artifact.manifest.parity
    assert parity is not None and parity.passed
    limits = {gate.name: gate.limit for gate in parity.gates}
    if not fp16:
        assert limits["x_0 of the file as it is"] == pytest.approx(1e-3) == 10 * limits["step 5 (t=0) x_0"]


@FP32
def test_openvino_draws_the_same_of_copies(guided):
    case = guided[3]
    with open_engine(guided[0], "openvino-f32", 2) as engine:
        np.testing.assert_allclose(engine.sample(case.inputs()), case.io["x_prev"][-1], atol=1e-4)


@FP16
def test_other_weights_of_both_networks_go_in(guided, tmp_path):
    artifact, path, classifier, case = guided
    folder = shutil.copytree(artifact.path, tmp_path / "made")
    others = [tmp_path / "other.pt", tmp_path / "other_classifier.pt"]
    for old, new in zip((path, classifier), others, strict=True):
        # An affine that grows is another network of the same architecture.
        weights = torch.load(old)
        torch.save({name: value * 1.1 if value.dim() == 1 else value for name, value in weights.items()}, new)
    options = RefitOptions(folder, others[0], case.config, fp16=artifact.manifest.precision == "fp16")
    with pytest.raises(InputError, match="was exported with a classifier: give it again by --classifier FILE"):
        refit(options)
    result = refit(dataclasses.replace(options, asked={"classifier": others[1]})).artifact.manifest
    assert result.parity is not None and result.parity.passed
    assert result.checkpoint.sha256 != artifact.manifest.checkpoint.sha256
    with OnnxRuntime(artifact) as before, OnnxRuntime(Artifact(folder, result)) as after:
        assert (before.generate([3], label=1) != after.generate([3], label=1)).any()


@FP32
def test_its_repository_answers_with_the_knobs_of_each_request(guided, monkeypatch):
    monkeypatch.setattr(Heartbeat, "start", lambda heart: None)
    # The model puts the server's log there, and leaves it.
    monkeypatch.setattr(logging.getLogger("ddgan_deploy"), "handlers", [])
    artifact = guided[0]
    model = type("Guided", (EngineModel,), {"server": fake})()
    folder = artifact.path / "model_repository" / "ddgan"
    config = text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())
    told = json_format.MessageToDict(config, preserving_proto_field_name=True)
    told["parameters"]["engine"]["string_value"] = "onnxruntime-portable"
    for tensor in told["input"]:
        tensor["dims"] = [int(dim) for dim in tensor["dims"]]
    model.initialize({"model_config": json.dumps(told), "model_repository": str(folder), "model_version": "1"})
    seed, label, guidance = np.array([[3]]), np.array([[7]]), np.array([[4]], np.float32)
    strong, plain = model.execute(
        [fake.Request({"seed": seed, "label": label, "guidance": guidance}), fake.Request({"seed": seed})]
    )
    with OnnxRuntime(artifact) as engine:
        expected = engine.generate([3, 3], label=[7, -1], guidance=[4.0, 1.0])
    np.testing.assert_array_equal(strong.tensors[0].array[0], expected[0])
    np.testing.assert_array_equal(plain.tensors[0].array[0], expected[1])
    model.finalize()
