"""The command: wrong input is one line before anything is measured, and what it prints."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from html import escape

import pytest
from PIL import Image

from ddgan_deploy.cli import bench


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "1,x"], "'1,x' is no list of whole numbers"),
        (["--batch", "0"], "--batch 0 is out of range: give 1..65536"),
        (["--batch", "1,10000000000"], "--batch 1,10000000000 is out of range: give 1..65536"),
        (["--batch", "4,1,4"], "--batch names a size twice"),
        (["--batch", ""], "no list of whole numbers"),
        (["--threads", "0"], "--threads 0 is out of range"),
        (["--runs", "0"], "--runs 0 is out of range"),
        (["--seconds", "0"], "--seconds 0 is out of range"),
        (["--seconds", "nan"], "--seconds nan is out of range"),
        (["--engines", "onnxruntime,tensorflow"], "engine 'tensorflow' is unknown: choose from pytorch-eager, "),
        (["--engines", "onnxruntime,onnxruntime"], "--engines names an engine twice"),
        (["--engines", ","], "--engines names none"),
        (["--per-op", "tensorflow"], "engine 'tensorflow' is unknown"),
        (["--per-op", "pytorch-eager"], "--per-op pytorch-eager runs no artifact on the CPU"),
        (["--json", "FOLDER"], "FOLDER is a folder: give a file name"),
        (["--json", "FILE/a.json"], "FILE/a.json cannot be written (Not a directory)"),
        (["--json", "FILE"], "FILE exists already: give --overwrite"),
        (["--plot", "FOLDER/a.pdf"], "is neither PNG nor SVG"),
        (["--json", "FOLDER/a.svg", "--plot", "FOLDER/a.svg"], "--json and --plot are both"),
        (["--ckpt", "FOLDER/none.pth"], "none.pth does not exist"),
        (["FOLDER"], "FOLDER has no readable manifest.json: give a folder that ddgan-export wrote"),
    ],
)
def test_wrong_input_is_one_line(artifact, stand_in, tmp_path, monkeypatch, capsys, arguments, message):
    def never(*arguments: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("ddgan_deploy.bench.measure.Worker", never)
    (tmp_path / "file").write_text("precious")
    names = {"FOLDER": str(tmp_path), "FILE": str(tmp_path / "file")}
    before = sorted(tmp_path.iterdir())
    for short, path in names.items():
        arguments = [argument.replace(short, path) for argument in arguments]
        message = message.replace(short, path)
    assert bench.main([str(artifact), *arguments]) == 2
    output = capsys.readouterr()
    (line,) = output.err.splitlines()
    assert line.startswith("error: ") and message in line and not output.out
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "file").read_text() == "precious"


def test_a_missing_matplotlib_is_told_first(artifact, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for name in ("bench.plot", "plots"):
        monkeypatch.delitem(sys.modules, f"ddgan_deploy.{name}", raising=False)
    assert bench.main([str(artifact), "--plot", str(tmp_path / "a.png")]) == 2
    assert "matplotlib is missing: pip install 'ddgan-deploy[serving]'" in capsys.readouterr().err


def test_what_it_prints_and_writes(artifact, stand_in, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stand_in({"pytorch-eager": 0.2, "onnxruntime": 0.1})
    (tmp_path / "a.json").write_text("old")
    arguments = ["--engines", "pytorch-eager,onnxruntime,tensorrt,pytorch-cudagraph", "--per-op", "onnxruntime"]
    files = ["--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "a.png"), "--overwrite"]
    assert bench.main([str(artifact), "--batch", "1,2", "--runs", "1", *arguments, *files]) == 0
    output = capsys.readouterr().out
    row = next(line.split() for line in output.splitlines() if line.split()[:3] == ["onnxruntime", "fp32", "2"])
    assert row[3:7] == ["200.00", "200.00", "10.00", "2.00"] and row[-1] == "1"
    assert "not measured: tensorrt fp32, pytorch-cudagraph: it needs an NVIDIA GPU" in output
    assert "PyTorch rows with random weights" in output
    assert "limit on cpu (measured): products float32 100 GFLOP/s, copies 10.0 GB/s" in output
    assert "onnxruntime, fp32, batch 1: time by op type" in output
    written = json.loads((tmp_path / "a.json").read_text())
    assert set(written) == {"rows", "skipped", "environment", "per_op"}
    contract = {"engine", "batch", "median_ms", "p95_ms", "images_per_s", "speedup_vs_eager", "precision", "runs"}
    assert contract < set(written["rows"][0])
    assert {"cpu", "cores", "threads", "isa", "gpu", "os", "versions", "rates", "checkpoint_sha256"} < set(
        written["environment"]
    )
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.png"]


def test_a_row_that_cannot_be_right_is_doubtful_and_no_error(artifact, stand_in, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stand_in({"onnxruntime": {"1": 0.2, "4": 0.21, "8": 0.197}, "openvino-f32": {"1": 0.2, "4": 0.1, "8": 0.3}})
    arguments = ["--batch", "1,4,8", "--runs", "1", "--engines", "onnxruntime,openvino-f32"]
    assert bench.main([str(artifact), *arguments, "--json", str(tmp_path / "a.json")]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("doubtful: ")]
    why = "so one of the two was disturbed: measure again, with more --runs"
    expected = {
        ("onnxruntime", 8): f"its 197.00 ms are less than the 210.00 ms of batch 4, {why}",
        ("openvino-f32", 4): f"its 100.00 ms are less than the 200.00 ms of batch 1, {why}",
    }
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert {(row["engine"], row["batch"]): row["doubtful"] for row in rows if row["doubtful"]} == expected
    assert len(rows) == 6
    assert sorted(notes) == [
        f"doubtful: {engine} fp32, batch {batch}: {why}" for (engine, batch), why in expected.items()
    ]


def test_medians_as_near_as_noise_are_not_doubtful(artifact, stand_in, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stand_in({"onnxruntime": {"1": 0.2, "4": 0.198}})
    assert bench.main([str(artifact), "--batch", "4,1", "--runs", "1", "--engines", "onnxruntime"]) == 0
    assert "doubtful" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_plot_names_what_was_measured(artifact, stand_in, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stand_in({})
    folder = tmp_path / r"a $\x$ <b>&amp;"
    folder.symlink_to(artifact)
    path = tmp_path / f"a{suffix}"
    assert bench.main([str(folder), "--runs", "1", "--engines", "onnxruntime", "--plot", str(path)]) == 0
    named = f"{folder.name}, 3×32×32, 2 steps"
    if suffix == ".png":
        assert Image.open(path).info["Title"] == named
    else:
        assert escape(named, quote=False) in path.read_text(encoding="utf-8")


def test_help_imports_nothing_large():
    code = (
        "import sys; from ddgan_deploy.cli.bench import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "names = 'torch', 'numpy', 'onnx', 'onnxruntime', 'rich', 'matplotlib'\n"
        "print('large:', [name for name in names if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "--per-op ENGINE" in output and output.endswith("large: []\n")
