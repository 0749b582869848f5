"""ddgan-sample --url: the files that it writes from an artifact, drawn by a server."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ddgan_deploy.cli import sample as command
from ddgan_deploy.serving.client import asynchronous
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


# A server that fails


@pytest.fixture(params=PROTOCOLS)
def failing(request, monkeypatch):
    """A server that answers two requests of four seeds, one after the other, and no third."""
    monkeypatch.setattr(asynchronous, "IN_FLIGHT", 1)
    with stand_in(request.param, "answer", "answer", "failed") as server:
        yield server


def _said(server, capsys, *arguments: object) -> str:
    """What the command says of seeds 5-24."""
    assert command.main(["--url", server.url, "--seeds", "5-24", *map(str, arguments)]) == 1
    message = f"error: model ddgan at {server.url} gave no image: out of memory"
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(message) and said.err.count("\n") == 1
    return said.err.removeprefix(message).rstrip()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_that_fails_at_once_leaves_nothing_behind(protocol, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(asynchronous, "IN_FLIGHT", 1)
    outputs = ("--out", tmp_path / "grid.png", "--npz", tmp_path / "a" / "b.npz", "--png-dir", tmp_path / "c")
    with stand_in(protocol, "failed") as server:
        assert _said(server, capsys, *outputs) == ""
    assert not list(tmp_path.iterdir())


def test_single_images_that_have_arrived_are_kept(failing, tmp_path, capsys):
    folder = tmp_path / "singles"
    said = _said(failing, capsys, "--png-dir", folder, "--out", tmp_path / "grid.png")
    assert said == f"; 8 of 20 images are in {folder}: draw the others with --seeds 13-24"
    assert {path.name for path in folder.iterdir()} == {f"{seed}.png" for seed in range(5, 13)}
    assert [path.name for path in tmp_path.iterdir()] == ["singles"]
    arguments = ["--url", failing.url, "--seeds", "13-24", "--png-dir", str(folder)]
    assert command.main(arguments) == 0
    assert [int(np.asarray(Image.open(folder / f"{seed}.png")).item()) for seed in range(5, 25)] == list(range(5, 25))


def test_arrays_that_have_arrived_are_kept_under_another_name(failing, tmp_path, capsys):
    said = _said(failing, capsys, "--npz", tmp_path / "new" / "images.npz")
    kept = tmp_path / "new" / "images-PARTIAL.npz"
    assert said == f"; 8 of 20 images are in {kept}: draw the others with --seeds 13-24"
    assert list(kept.parent.iterdir()) == [kept]
    arrays = np.load(kept)
    assert arrays["seeds"].tolist() == arrays["images"].ravel().tolist() == list(range(5, 13))


def test_of_a_grid_alone_it_is_said_how_to_keep_them(failing, tmp_path, capsys):
    said = _said(failing, capsys, "--out", tmp_path / "grid.png")
    assert said == "; 8 of 20 images had been drawn: with --png-dir or --npz they are kept"
    assert not list(tmp_path.iterdir())


def test_one_that_falls_silent(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(asynchronous, "IN_FLIGHT", 1)
    with stand_in("http", "answer", "silent") as server:
        arguments = ["--url", server.url, "--seeds", "0-9", "--timeout", "0.5", "--png-dir", str(tmp_path / "singles")]
        assert command.main(arguments) == 1
    said = capsys.readouterr().err
    assert "did not answer within 0.5 s" in said and said.endswith("draw the others with --seeds 4-9\n")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_whose_port_another_server_has_taken(protocol, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(asynchronous, "IN_FLIGHT", 1)
    folder = tmp_path / "singles"
    with stand_in(protocol, "answer", "unknown") as server:
        arguments = ["--url", server.url, "--seeds", "0-9", "--png-dir", str(folder)]
        assert command.main(arguments) == 1
        url = server.url
    said = capsys.readouterr().err
    assert said.startswith(f"error: model ddgan at {url} is no longer known: ") and said.count("\n") == 1
    assert "restart ddgan-serve there, or give another url" in said
    assert said.endswith(f"; 4 of 10 images are in {folder}: draw the others with --seeds 4-9\n")
    assert {path.name for path in folder.iterdir()} == {f"{seed}.png" for seed in range(4)}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_model_that_was_never_there_is_a_wrong_input(protocol, tmp_path, capsys):
    with stand_in(protocol, "unknown") as server:
        arguments = ["--url", server.url, "--seeds", "0-3", "--png-dir", str(tmp_path / "singles")]
        assert command.main(arguments) == 2
    assert "is unknown: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_how_many_have_arrived_is_told(tmp_path, monkeypatch):
    told = []

    class Progress:
        @contextlib.contextmanager
        def __call__(self, name):
            yield lambda share, what: told.append((share, what))

    monkeypatch.setattr(command, "StepList", Progress)
    monkeypatch.setattr(asynchronous, "IN_FLIGHT", 1)
    with stand_in("http") as server:
        assert command.main(["--url", server.url, "--seeds", "0-9", "--npz", str(tmp_path / "images.npz")]) == 0
    assert told == [(0.4, "4 of 10 images"), (0.8, "8 of 10 images"), (1.0, "10 of 10 images")]


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
