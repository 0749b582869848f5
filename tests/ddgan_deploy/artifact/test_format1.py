"""An artifact of before, as it was written then: format 1, overloads of functions, the last activation inside an op."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.artifact.manifest import MANIFEST, SAMPLER, SERVED, WEIGHTS
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.cli import verify as verify_command
from ddgan_deploy.export import cli as export_command
from ddgan_deploy.export import refit as refit_module
from tests.conftest import DATA

FOLDER = DATA / "format1"
SEEDS = [0, 1, 2**63]


@pytest.fixture
def artifact(tmp_path):
    return shutil.copytree(FOLDER / "artifact", tmp_path / "artifact")


@pytest.mark.parametrize("engine", ["onnxruntime", "onnxruntime-portable", "openvino-f32"])
def test_it_draws_what_it_drew(artifact, library, engine):
    with open_artifact(artifact, engine) as opened:
        drawn = opened.generate(SEEDS)
    assert np.abs(drawn.astype(int) - np.load(FOLDER / "images.npy")).max() <= 1


def test_its_gates_run_and_have_the_names_of_before(artifact, capsys):
    arguments = [str(artifact), "--ckpt", str(FOLDER / "netG.pth"), "--config", str(FOLDER / "args.json"), "--portable"]
    assert verify_command.main(arguments) == 0
    said = capsys.readouterr().out
    parity = read_artifact(artifact).manifest.parity
    assert parity is not None and parity.passed and len(parity.probes) == 6
    assert all(f" {gate.name} " in said for gate in parity.gates)


def test_its_repository_is_made_anew_and_nothing_else_but_the_manifest(artifact, capsys):
    graphs = {name: (artifact / name).read_bytes() for name in (SAMPLER, SERVED, WEIGHTS)}
    assert export_command.main(["--rebuild", str(artifact), "--engine", "none"]) == 0
    copy = artifact / "model_repository" / "ddgan" / "1" / "artifact"
    with open_artifact(copy, "onnxruntime-portable") as opened:
        assert np.abs(opened.generate(SEEDS).astype(int) - np.load(FOLDER / "images.npy")).max() <= 1
    assert graphs == {name: (artifact / name).read_bytes() for name in graphs}
    assert json.loads((artifact / MANIFEST).read_text())["format_version"] == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "the model repository and manifest.json alone were made anew, all else is as it was" in said
    assert "report" not in said  # it has none


def test_a_server_without_our_engine_gets_the_ops_of_today(artifact):
    """ONNX Runtime before 1.27 refuses, or takes for one another, what the old graph has under one name."""
    assert export_command.main(["--rebuild", str(artifact), "--engine", "none", "--backend", "onnxruntime"]) == 0
    path = artifact / "model_repository" / "ddgan" / "1" / SERVED
    model = onnx.load(path)
    names = [function.name for function in model.functions]
    assert model.ir_version == 9 and len(set(names)) == len(names)
    assert {"AdaGN", "AdaGNSilu", "ReverseStep"} <= set(names)
    seeds = np.array([SEEDS], np.uint64).T.view(np.int64)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (drawn,) = session.run(None, {"seed": seeds})
    assert np.abs(drawn.astype(int) - np.load(FOLDER / "images.npy")).max() <= 1


@pytest.mark.parametrize("rebuilt", [False, True])
def test_a_refit_refuses_it_at_once(artifact, rebuilt, monkeypatch, capsys):
    if rebuilt:  # the manifest is of today then, the graphs are not
        assert export_command.main(["--rebuild", str(artifact), "--engine", "none"]) == 0
    monkeypatch.setattr(refit_module, "build_graphs", lambda *_: pytest.fail("it traces"))
    before = {path: path.read_bytes() for path in artifact.rglob("*") if path.is_file()}
    arguments = ["--ckpt", str(FOLDER / "netG.pth"), "--config", str(FOLDER / "args.json")]
    assert export_command.main(["--refit", str(artifact), *arguments]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert f"{artifact} has graphs of format 1" in line and line.endswith(": export it anew")
    assert before == {path: path.read_bytes() for path in artifact.rglob("*") if path.is_file()}
