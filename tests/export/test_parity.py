"""The gates fail where they should, and say where the drift begins."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from ddgan_deploy import open_artifact
from ddgan_deploy.cli import verify as verify_command
from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime
from ddgan_deploy.errors import GateError
from ddgan_deploy.export import cli as export_command
from ddgan_deploy.export.families.ddgan import DdganGraphs
from ddgan_deploy.images import to_pixels
from ddgan_deploy.inputs import draw
from ddgan_deploy.parity.verify import verify
from tests.conftest import Golden, golden_case
from tests.export.conftest import export_golden, make_one_step_wrong


def _changed(checkpoint, key, factor):
    weights = dict(checkpoint.weights)
    weights[key] = weights[key] * factor
    return dataclasses.replace(checkpoint, weights=weights)


def test_every_gate_is_there_and_passes(biggan, biggan_fp32):
    gates = {gate.name: gate for gate in biggan_fp32.manifest.parity.gates}
    expected = {
        "x_0 of the file as it is",
        "no NaN or Inf",
        "identical rows stay identical",
        "a sample alone equals it in a batch",
        "seed to pixels",
    }
    for k in range(4):
        expected |= {f"step {k} (t={3 - k}) x0", f"step {k} (t={3 - k}) {'x_0' if k == 3 else 'x_prev'}"}
    assert set(gates) == expected
    assert all(gate.passed and not gate.where for gate in gates.values())
    assert gates["step 0 (t=3) x0"].limit == 1e-4
    assert gates["seed to pixels"].limit == 1


@pytest.mark.parametrize(
    ("key", "layer"),
    [
        ("all_modules.6.Conv_1.weight", "step0/all_modules.7.GroupNorm_0"),
        ("all_modules.10.Conv_0.weight", "step0/all_modules.10.GroupNorm_1"),
        ("all_modules.18.weight", "step0/x0"),
    ],
)
def test_another_weight_fails_the_first_step_and_names_the_layer(biggan, biggan_fp32, key, layer):
    engine = open_artifact(biggan_fp32.path)
    result = verify(_changed(biggan.load(), key, 1.5), engine, seeds=[0, 1]).result
    assert not result.passed
    first = result.failures[0]
    assert first.name == "step 0 (t=3) x0"
    assert first.where.startswith(layer)


def test_a_change_in_a_later_step_alone_names_that_step(biggan, biggan_fp32):
    """Time biases differ step by step: one that is wrong at t = 1 shows at step 2 and not before."""
    checkpoint = biggan.load()
    generator = checkpoint.generator()
    make_one_step_wrong(generator)
    checkpoint = dataclasses.replace(checkpoint)
    object.__setattr__(checkpoint, "generator", lambda: generator)
    result = verify(checkpoint, open_artifact(biggan_fp32.path), seeds=[0]).result
    assert result.failures[0].name == "step 2 (t=1) x0"
    assert result.failures[0].where.startswith("step2/all_modules.10.GroupNorm_1")


LAST = "all_modules.17.weight"


@pytest.fixture(scope="module")
def unbounded(tmp_path_factory) -> Golden:
    """A network without tanh, whose outputs reach some hundreds."""
    return _without_tanh(tmp_path_factory.mktemp("unbounded"), 200)


def _without_tanh(folder: Path, factor: float) -> Golden:
    golden = golden_case("no_fir_t2")
    weights = torch.load(golden.path, weights_only=True)
    weights[f"module.{LAST}"] *= factor
    torch.save(weights, folder / "netG.pth")
    arguments = json.loads(golden.config.read_text()) | {"not_use_tanh": True}
    (folder / "args.json").write_text(json.dumps(arguments))
    return dataclasses.replace(golden, path=folder / "netG.pth", config=folder / "args.json")


@pytest.fixture(scope="module")
def unbounded_fp32(unbounded, tmp_path_factory):
    return export_golden(unbounded, tmp_path_factory.mktemp("export"))


def test_large_values_are_held_to_their_own_range(unbounded_fp32):
    manifest, parity = unbounded_fp32.artifact.manifest, unbounded_fp32.artifact.manifest.parity
    x_0 = open_artifact(unbounded_fp32.artifact.path).sample(draw(manifest.sampler, parity.seeds))
    rms = np.sqrt(np.mean(x_0.astype(np.float64) ** 2))
    assert parity.passed and rms > 50 and np.abs(x_0).max() > 200
    limits = {gate.name: gate.limit for gate in parity.gates}
    for name in ("step 1 (t=0) x_0", "x_0 of the file as it is", "a sample alone equals it in a batch"):
        assert limits[name] == pytest.approx(1e-4 * rms)
    # A state that is mostly noise is smaller, and its limit with it.
    assert 1e-4 < limits["step 0 (t=1) x_prev"] < limits["step 1 (t=0) x_0"] / 2
    assert parity.probes[-1].scale == pytest.approx(rms)


@pytest.mark.parametrize("factor", [300, 16000])
def test_an_fp16_image_of_a_large_range_passes_and_a_grey_one_does_not(factor, tmp_path, monkeypatch):
    golden = _without_tanh(tmp_path, factor)
    artifact = export_golden(golden, tmp_path, fp16=True).artifact
    assert artifact.manifest.parity.passed
    honest = OnnxRuntime.generate
    monkeypatch.setattr(OnnxRuntime, "generate", lambda self, seeds: np.full_like(honest(self, seeds), 127))
    result = verify(golden.load(), open_artifact(artifact.path)).result
    assert [gate.name for gate in result.failures] == ["seed to pixels"]


def test_a_network_that_float32_does_not_hold_is_told_from_a_wrong_export(tmp_path):
    with pytest.raises(GateError) as error:
        export_golden(_without_tanh(tmp_path, 1e36), tmp_path)
    assert str(error.value).startswith("parity failed at no NaN or Inf")
    assert "the network itself gives values that float32 does not hold" in str(error.value)
    assert "GroupNorm" not in str(error.value)


def test_one_weight_that_is_off_by_a_hundredth_fails_in_a_large_range_too(unbounded, unbounded_fp32):
    factor = torch.ones(3, 1, 1, 1).repeat(1, 16, 3, 3)
    factor[1, 5, 1, 1] = 1.01
    result = verify(_changed(unbounded.load(), LAST, factor), open_artifact(unbounded_fp32.artifact.path)).result
    assert [gate.name for gate in result.failures][:2] == ["step 0 (t=1) x0", "step 0 (t=1) x_prev"]
    assert "x_0 of the file as it is" in [gate.name for gate in result.failures]


def test_values_that_are_not_finite_fail(biggan, biggan_fp32, monkeypatch):
    engine = open_artifact(biggan_fp32.path)
    honest = OnnxRuntime.probe

    def broken(self, inputs, nodes, states=None):
        values = honest(self, inputs, nodes, states)
        if "step1/ReverseStep" in nodes:
            values[nodes.index("step1/ReverseStep")][0, 0, 0, 0] = np.nan
        return values

    monkeypatch.setattr(OnnxRuntime, "probe", broken)
    result = verify(biggan.load(), engine, seeds=[0]).result
    names = [gate.name for gate in result.failures]
    assert "no NaN or Inf" in names
    assert "step 1 (t=2) x_prev" in names
    json.dumps(dataclasses.asdict(result), allow_nan=False)


def test_a_row_that_depends_on_its_neighbours_fails(biggan, biggan_fp32, monkeypatch):
    engine = open_artifact(biggan_fp32.path)
    honest = OnnxRuntime.probe

    def leaking(self, inputs, nodes, states=None):
        values = honest(self, inputs, nodes, states)
        values[-1][-1] += 1e-6
        return values

    monkeypatch.setattr(OnnxRuntime, "probe", leaking)
    sample = OnnxRuntime.sample
    # By the batch, so that it differs from the same sample alone, which keeps to the reference.
    monkeypatch.setattr(
        OnnxRuntime, "sample", lambda self, inputs: sample(self, inputs) + 2e-4 * (len(inputs["x_T"]) == 1)
    )
    names = [gate.name for gate in verify(biggan.load(), engine, seeds=[0, 1]).result.failures]
    assert names == ["identical rows stay identical", "a sample alone equals it in a batch"]


def test_a_failed_export_is_kept_under_a_name_that_says_so(biggan, tmp_path, monkeypatch, capsys):
    honest = DdganGraphs.build

    def wrong(*args):
        model = honest(*args)
        weight = model.graph.initializers["all_modules.6.Conv_1.weight"]
        weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1.5))
        return model

    monkeypatch.setattr(DdganGraphs, "build", wrong)
    out = tmp_path / "out"
    code = export_command.main(["--ckpt", str(biggan.path), "--steps", "2", "--out", str(out), "--engine", "none"])
    assert code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out-FAILED"]
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "step 0 (t=1) x0" in error
    assert "step0/all_modules.7.GroupNorm_0" in error
    assert str(out) + "-FAILED" in error
    manifest = json.loads((tmp_path / "out-FAILED" / "manifest.json").read_text())
    assert not all(gate["passed"] for gate in manifest["parity"]["gates"])
    assert "FAILED" in (tmp_path / "out-FAILED" / "report.html").read_text()


def test_verify_command(biggan, biggan_fp32, capsys):
    assert verify_command.main([str(biggan_fp32.path), "--ckpt", str(biggan.path), "--seeds", "5"]) == 0
    assert "gates passed" in capsys.readouterr().out


def test_verify_command_finds_damaged_weights(biggan, biggan_fp32, tmp_path, capsys):
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in filter(Path.is_file, biggan_fp32.path.iterdir()):
        (folder / file.name).write_bytes(file.read_bytes())
    weights = np.fromfile(folder / "weights.bin", np.float32)
    weights[: len(weights) // 4] *= 1.5
    weights.tofile(folder / "weights.bin")
    assert verify_command.main([str(folder), "--ckpt", str(biggan.path), "--seeds", "0"]) == 1
    assert "parity failed at step 0" in capsys.readouterr().err


def test_no_verify_is_said_so(biggan, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--ckpt", str(biggan.path), "--steps", "1", "--out", str(out), "--engine", "none", "--no-verify"]
    assert export_command.main(arguments) == 0
    assert json.loads((out / "manifest.json").read_text())["parity"] is None
    assert "not verified" in capsys.readouterr().out


def test_pixels_round_half_up_and_are_clipped():
    x = np.array([-2, -1, -1 + 1 / 255, 0, 1, 7], np.float32).reshape(1, 1, 1, 6)
    assert to_pixels(x).reshape(-1).tolist() == [0, 0, 1, 128, 255, 255]
    assert to_pixels(np.zeros((2, 3, 4, 5), np.float32)).shape == (2, 4, 5, 3)


def test_verify_command_needs_no_config(exports):
    """What the weights do not tell, such as fir, is as it was at the export."""
    golden = golden_case("no_fir_t2")
    artifact = exports.golden(golden).path
    assert verify_command.main([str(artifact), "--ckpt", str(golden.path), "--seeds", "0"]) == 0
