"""An export that measures the engines of the CPU, and what is then taken."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.artifact.results import Speeds
from ddgan_deploy.bench.results import Row
from ddgan_deploy.engines.speeds import this_machine
from ddgan_deploy.export import cli, tuning
from tests.export.conftest import export_golden

ROW = Row("", "cpu", "fp16", "", 1, 5, 1.0, 1.0, 1000.0, None, None, None, 1.0, None, 0.1, 0.1)


@pytest.fixture
def measured(monkeypatch):
    """Stands for a benchmark: engine -> milliseconds at any batch size; returns what was asked for."""
    asked = []

    def stand_in(**milliseconds):
        def run(options):
            asked.append(options)
            rows = [
                dataclasses.replace(ROW, engine=name, artifact=str(options.artifacts[0]), batch=batch, median_ms=ms)
                for name, ms in milliseconds.items()
                for batch in options.batches
            ]
            return type("Result", (), {"rows": rows})

        monkeypatch.setattr(tuning, "run", run)
        monkeypatch.setattr("ddgan_deploy.engines.has_bfloat16", lambda: True)
        return asked

    return stand_in


def test_the_engines_are_really_measured(biggan, tmp_path):
    result = export_golden(biggan, tmp_path, tune=True)
    speeds = result.artifact.manifest.tuned
    assert speeds.machine == this_machine() and speeds.proven == ()
    assert {"onnxruntime", "onnxruntime-portable"} <= set(speeds.milliseconds)
    assert not any(name.endswith("-bf16") for name in speeds.milliseconds)
    assert all(set(times) == {1, 8} for times in speeds.milliseconds.values())
    served = read_artifact(result.artifact.path / "model_repository/ddgan/1/artifact").manifest
    assert served.tuned == speeds


def test_bfloat16_is_proven_before_it_is_taken(biggan, tmp_path, measured, capsys):
    asked = measured(**{"onnxruntime": 2.0, "onnxruntime-bf16": 1.0, "openvino-bf16": 3.0})
    result = export_golden(biggan, tmp_path, fp16=True, tune=True)
    assert result.artifact.manifest.tuned.proven == ("onnxruntime-bf16",)
    (options,) = asked
    assert options.batches == (1, 8) and "onnxruntime-bf16" in options.engines
    assert open_artifact(result.artifact.path).name == "onnxruntime-bf16"


def test_what_does_not_hold_the_gates_is_not_taken(biggan, tmp_path, measured, monkeypatch):
    measured(**{"onnxruntime": 2.0, "onnxruntime-bf16": 1.0})
    failed = type("Parity", (), {"passed": False})
    monkeypatch.setattr(tuning, "prove_engine", lambda *arguments: failed)
    result = export_golden(biggan, tmp_path, fp16=True, tune=True)
    assert result.artifact.manifest.tuned.proven == ()
    assert open_artifact(result.artifact.path).name == "onnxruntime"


def test_a_rebuild_measures_too_and_says_what_it_found(biggan_fp16, tmp_path, measured, capsys):
    measured(**{"onnxruntime": 20.0, "onnxruntime-bf16": 10.0, "openvino-bf16": 5.0})
    monkeypatched = shutil.copytree(biggan_fp16.path, tmp_path / "artifact")
    assert cli.main(["--rebuild", str(monkeypatched), "--engine", "none", "--tune"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "engines here" in said and "onnxruntime-bf16 10 ms at batch 1, onnxruntime 20 ms at batch 1" in said
    # Made anew without it, what was measured stays.
    before = read_artifact(monkeypatched).manifest.tuned
    assert cli.main(["--rebuild", str(monkeypatched), "--engine", "none"]) == 0
    assert read_artifact(monkeypatched).manifest.tuned == before
    assert before.milliseconds["onnxruntime"] == {1: 20.0, 8: 20.0}


def test_a_refit_measures_again_and_takes_no_flag(biggan_fp16, tmp_path, capsys):
    artifact = shutil.copytree(biggan_fp16.path, tmp_path / "artifact")
    assert cli.main(["--refit", str(artifact), "--ckpt", "other.pth", "--tune"]) == 2
    assert "leave out --tune, or give it with --rebuild DIR" in capsys.readouterr().err


def test_one_machine_s_speeds_say_nothing_on_another(biggan_fp16, tmp_path, measured):
    speeds = Speeds("another machine", {"onnxruntime-portable": {1: 1.0}, "onnxruntime": {1: 2.0}})
    artifact = read_artifact(biggan_fp16.path)
    told = dataclasses.replace(artifact.manifest, tuned=speeds)
    from ddgan_deploy.engines import open_engine

    assert open_engine(dataclasses.replace(artifact, manifest=told)).name == "onnxruntime"
