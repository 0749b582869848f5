"""An artifact can name its CPU engine, which is then proven."""

from __future__ import annotations

import shutil

import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.artifact.serving import Serving
from ddgan_deploy.engines.openvino import OpenVino
from ddgan_deploy.export import cli as export_command
from ddgan_deploy.export.proof import FailedGate
from tests.export.conftest import export_golden


@pytest.fixture
def artifact(biggan_fp32, tmp_path):
    return shutil.copytree(biggan_fp32.path, tmp_path / "artifact")


def _rebuild(artifact, engine):
    return export_command.main(["--rebuild", str(artifact), "--engine", "none", "--cpu-engine", engine])


def test_an_export_proves_the_engine_that_it_names(biggan, tmp_path):
    result = export_golden(biggan, tmp_path, serving=Serving(cpu_engine="openvino-f32"))
    parity = result.artifact.manifest.cpu_parity
    assert parity.engine == "openvino-f32" and parity.passed
    assert {gate.name for gate in parity.gates} >= {"x_0 against PyTorch", "seed to pixels", "no NaN or Inf"}
    assert open_artifact(result.artifact.path).name == "openvino-f32"


def test_an_engine_that_computes_something_else_fails_the_export(biggan, tmp_path, monkeypatch):
    right = OpenVino.sample
    monkeypatch.setattr(OpenVino, "sample", lambda self, noise: right(self, noise) + 1e-3)
    with pytest.raises(FailedGate, match="x_0 against PyTorch"):
        export_golden(biggan, tmp_path, serving=Serving(cpu_engine="openvino-f32"))
    assert [path.name for path in tmp_path.iterdir()] == ["biggan-fp32-FAILED"]


def test_rebuild_changes_it_and_back(artifact, capsys):
    pytest.importorskip("openvino")
    assert _rebuild(artifact, "openvino-f32") == 0
    manifest = read_artifact(artifact).manifest
    assert manifest.serving.cpu_engine == manifest.cpu_parity.engine == "openvino-f32"
    assert read_artifact(artifact / "model_repository/ddgan/1/artifact").manifest.serving == manifest.serving
    assert "parity of openvino-f32" in capsys.readouterr().out
    assert _rebuild(artifact, "auto") == 0
    manifest = read_artifact(artifact).manifest
    assert manifest.serving.cpu_engine == "auto" and manifest.cpu_parity is None


def test_bf16_does_not_keep_fp32s_promise(artifact, capsys):
    assert _rebuild(artifact, "openvino-bf16") == 2
    assert "export with --fp16 or --int8, or choose openvino-f32" in capsys.readouterr().err
    assert read_artifact(artifact).manifest.serving.cpu_engine == "auto"


def test_an_engine_that_is_missing_cannot_be_proven(artifact, monkeypatch, capsys):
    monkeypatch.setattr("ddgan_deploy.engines.openvino.installed", lambda: False)
    assert _rebuild(artifact, "openvino-f32") == 2
    assert capsys.readouterr().err.endswith("pip install 'ddgan-deploy[openvino]'\n")
