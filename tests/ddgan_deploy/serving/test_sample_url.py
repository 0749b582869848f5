"""ddgan-sample --url: the files that it writes from an artifact, drawn by a server."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ddgan_deploy.cli import sample as command
from tests.ddgan_deploy.serving.stand_in import PROTOCOLS, stand_in


@pytest.mark.parametrize("form", ["{http}", "{grpc}", "http://{http}", "grpc://{grpc}"])
def test_a_server_s_files_equal_the_artifact_s(server, tmp_path, form):
    url = form.format(http=server.http, grpc=server.grpc)
    for name, source in (("here", [str(server.artifact)]), ("there", ["--url", url])):
        folder = tmp_path / name
        outputs = ["--out", folder / "grid.png", "--png-dir", folder / "singles", "--npz", folder / "images.npz"]
        assert command.main([*source, "--seeds", "3,7-20", "--batch", "5", *map(str, outputs)]) == 0
    here, there = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*.*")} for f in tmp_path.iterdir())
    assert len(here) == 17
    assert here == there


def test_the_batch_bounds_a_request(tmp_path):
    with stand_in("http") as server:
        arguments = ["--url", server.url, "--seeds", "0-4", "--batch", "2", "--npz", str(tmp_path / "images.npz")]
        assert command.main(arguments) == 0
        assert sorted(map(len, server.requests)) == [1, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either DIR"),
        (["digits", "--url", "http://127.0.0.1:1"], "give either DIR"),
        (["--url", "http://127.0.0.1:1", "--portable"], "leave out --engine"),
        (["--url", "http://127.0.0.1:1", "--engine", "onnxruntime"], "leave out --engine"),
        (["--url", "http://127.0.0.1:1", "--threads", "2"], "--threads"),
        (["--url", "http://127.0.0.1:1", "--timeout", "0"], "timeout 0.0 is out of range"),
        (["--url", "ftp://127.0.0.1:1"], "ftp://"),
        (["--url", ""], "is not a host and a port"),
        (["digits", "--timeout", "5"], "give it with --url"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line(arguments, message, tmp_path, capsys):
    assert command.main([*arguments, "--out", str(tmp_path / "grid.png")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("error: ") and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_fails_leaves_nothing_behind(protocol, tmp_path, capsys):
    with stand_in(protocol, "answer", "failed") as server:
        arguments = ["--url", server.url, "--seeds", "0-7", "--out", str(tmp_path / "grid.png")]
        assert command.main(arguments) == 1
        assert capsys.readouterr().err == f"error: model ddgan at {server.url} gave no image: out of memory\n"
    assert not list(tmp_path.iterdir())


def test_help_imports_nothing_heavy():
    code = """
import sys
from ddgan_deploy.cli import sample
try:
    sample.main(["--help"])
except SystemExit:
    pass
assert not {"numpy", "tritonclient", "PIL", "onnxruntime", "torch"} & set(sys.modules)
"""
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "--url" in shown
