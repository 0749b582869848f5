"""A whole run: with stand-ins for what engines may do, and once with real ones."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.bench import BenchOptions, run
from ddgan_deploy.bench.results import BenchResult, Skipped
from ddgan_deploy.errors import GateError, InputError


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Nothing may be left behind."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert not list(folder.iterdir())


def measured(artifact: Path, **options: object):
    return run(BenchOptions(**{"artifacts": (artifact,), "batches": (4, 1), "runs": 4, **options}))


def test_every_engine_at_every_batch(artifact, stand_in):
    stand_in({"pytorch-eager": 0.02, "onnxruntime": 0.005})
    result = measured(artifact, engines=("pytorch-eager", "onnxruntime", "tensorrt"))
    rows = {(row.engine, row.batch): row for row in result.rows}
    assert list(rows) == [(engine, batch) for batch in (1, 4) for engine in ("pytorch-eager", "onnxruntime")]
    ours = rows["onnxruntime", 4]
    assert (ours.median_ms, ours.speedup_vs_eager, ours.images_per_s) == pytest.approx((20, 4, 200))
    assert (ours.runs, ours.peak_mb, ours.import_s, ours.load_s) == (4, 104, 0.5, 1.5)
    assert ours.roofline_share is not None
    (skipped,) = result.skipped
    assert (skipped.engine, skipped.batch) == ("tensorrt", None) and "needs an NVIDIA GPU" in skipped.reason
    rates = result.environment.rates["cpu"]
    assert (rates.flops, rates.bytes) == ({"float32": 1e11}, 1e10)
    assert result.environment.pytorch_weights == "random"


@pytest.mark.parametrize(("threads", "name"), [(None, "onnxruntime-portable"), (1, "onnxruntime")])
def test_who_opens_the_artifact_then_gets_the_fastest(artifact, stand_in, monkeypatch, tmp_path, threads, name):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    stand_in({"onnxruntime": 0.02, "onnxruntime-portable": 0.005})
    measured(artifact, engines=("onnxruntime", "onnxruntime-portable"), threads=threads)
    # What one thread takes says nothing of all.
    assert open_artifact(artifact).name == name


def test_what_there_is_so_far_is_told_after_every_batch(artifact, stand_in):
    stand_in({"pytorch-eager": 0.02, "onnxruntime": "refuses batch 2"})
    told: list[BenchResult] = []
    options = BenchOptions((artifact,), batches=(4, 1, 2), runs=3, engines=("pytorch-eager", "onnxruntime"))
    result = run(options, so_far=told.append)
    assert [{row.batch for row in each.rows} for each in told] == [{1}, {1, 2}, {1, 2, 4}]
    assert [len(each.skipped) for each in told] == [0, 1, 1]
    assert told[-1].rows == result.rows and told[0].environment.rates


def test_an_engine_that_fails_costs_only_its_rows(artifact, stand_in):
    stand_in({"pytorch-compile": "not here", "onnxruntime": "dies", "onnxruntime-portable": "refuses batch 2"})
    engines = ("pytorch-eager", "pytorch-compile", "onnxruntime", "onnxruntime-portable")
    result = measured(artifact, engines=engines, batches=(1, 2, 3))
    rows = {engine: [row.batch for row in result.rows if row.engine == engine] for engine in engines}
    assert rows == {
        "pytorch-eager": [1, 2, 3],
        "pytorch-compile": [],
        "onnxruntime": [],
        "onnxruntime-portable": [1, 3],
    }
    assert result.skipped == (
        Skipped("pytorch-compile", "it is not installed: install it"),
        Skipped("onnxruntime", "its process ended by SIGABRT: out of luck (at batch 1)", "fp32"),
        Skipped("onnxruntime-portable", "RuntimeError: batch 2 is too large", "fp32", 2),
    )


def test_a_slow_row_ends_after_three_runs(artifact, stand_in):
    stand_in({"pytorch-eager": 1.0, "onnxruntime": 0.1})
    result = measured(artifact, engines=("pytorch-eager", "onnxruntime"), batches=(1,), runs=9, seconds=0.55)
    assert {row.engine: row.runs for row in result.rows} == {"pytorch-eager": 3, "onnxruntime": 6}


def test_where_nothing_runs_the_command_fails(artifact, stand_in, tmp_path):
    stand_in({"onnxruntime": "not here"})
    with pytest.raises(GateError, match="nothing could be measured: onnxruntime: it is not installed"):
        measured(artifact, engines=("onnxruntime", "tensorrt"), json=tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


def test_an_interruption_leaves_nothing(artifact, stand_in, monkeypatch, tmp_path):
    workers = []

    def interrupted(self, batch):
        workers.extend(running.worker for running in self.running)
        raise KeyboardInterrupt

    stand_in({})
    monkeypatch.setattr("ddgan_deploy.bench.measure._Bench.measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measured(artifact, engines=("pytorch-eager", "onnxruntime"), json=tmp_path / "a.json")
    assert len(workers) == 2 and not any(worker.alive for worker in workers)
    assert not (tmp_path / "a.json").exists()


def test_artifacts_must_be_of_one_checkpoint(artifact, tmp_path):
    with pytest.raises(InputError, match="given twice"):
        measured(artifact, artifacts=(artifact, artifact))
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in artifact.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["checkpoint"]["sha256"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="is of another checkpoint or number of steps"):
        measured(artifact, artifacts=(artifact, copy))


def test_weights_of_another_architecture_are_refused(artifact, biggan):
    with pytest.raises(InputError, match=r"netG\.pth"):
        measured(artifact, checkpoint=biggan.path)


def test_real_engines(artifact, small, tmp_path):
    options = BenchOptions(
        artifacts=(artifact,),
        batches=(1, 2),
        threads=1,
        runs=2,
        engines=("pytorch-eager", "onnxruntime-portable"),
        checkpoint=small.path,
        per_op="onnxruntime-portable",
        json=tmp_path / "new" / "a.json",
        plot=tmp_path / "a.svg",
    )
    result = run(options)
    assert [(row.engine, row.batch) for row in result.rows] == [
        (engine, batch) for batch in (1, 2) for engine in options.engines or ()
    ]
    eager, ours = result.rows[:2]
    assert eager.speedup_vs_eager == 1 and not result.skipped
    # PyTorch alone takes more than that; and what a process had for a moment before it began does not count.
    assert eager.peak_mb > 150 and ours.peak_mb < eager.peak_mb
    assert all(0 < row.median_ms <= row.p95_ms and row.load_s > 0 for row in result.rows)
    assert result.environment.pytorch_weights == small.path.name and result.environment.threads == 1
    (per_op,) = result.per_op
    assert {"Conv", "MatMul"} < {share.op_type for share in per_op.by_type}
    assert sum(share.share for share in per_op.by_type) == pytest.approx(1)
    conv = next(share for share in per_op.by_type if share.op_type == "Conv")
    assert conv.roofline_share is not None and any(share.layer.endswith("Conv_0") for share in per_op.top)
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == json.loads(json.dumps(dataclasses.asdict(result)))
    assert "<svg" in (tmp_path / "a.svg").read_text()
