"""The README's commands, run as they stand."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddgan_deploy.cli import bench, perf, sample, serve, verify
from ddgan_deploy.export import cli as export_command

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
COMMANDS = {
    "ddgan-export": export_command.main,
    "ddgan-sample": sample.main,
    "ddgan-verify": verify.main,
    "ddgan-bench": bench.main,
    "ddgan-serve": serve.main,
    "ddgan-perf": perf.main,
}


def _lines(mark: str) -> list[str]:
    block = README.split(f"<!-- the test-suite runs {mark} -->\n```console\n")[1]
    return block.split("```")[0].strip().splitlines()


def _run(lines: list[str]) -> None:
    for line in lines:
        name, *arguments = shlex.split(line)
        assert COMMANDS[name](arguments) == 0, line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the commands of the section Use ran."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("readme")
        patch.chdir(path)
        lines = _lines("these lines")
        assert len(lines) >= 5
        _run(lines)
        return path


def test_commands(folder):
    made = {"digits", "digits-fp16", "grid.png", "singles", "images.npz"}
    assert made <= {path.name for path in folder.iterdir()} <= {*made, "served.png", "ddgan-perf"}


def _free_ports(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def test_benchmark(folder, monkeypatch):
    monkeypatch.chdir(folder)
    _run(_lines("this benchmark"))
    assert {row["engine"] for row in json.loads(Path("speed.json").read_text())["rows"]} == {
        "pytorch-eager",
        "onnxruntime",
        "openvino-f32",
    }


def test_serving(folder, monkeypatch):
    monkeypatch.chdir(folder)
    ports = dict(zip(("8000", "8001", "8002"), _free_ports(3), strict=True))
    (line,) = _lines("this server")
    arguments = shlex.split(line)[1:] + [
        part for name, port in zip(("http", "grpc", "metrics"), ports.values(), strict=True)
        for part in (f"--{name}-port", port)
    ]  # fmt: skip
    command = [sys.executable, "-m", "ddgan_deploy.cli.serve", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout.readline().startswith("ready")
            lines = _lines("these lines against it")
            _run([re.sub(r"\b800[012]\b", lambda port: ports[port[0]], line) for line in lines])
        finally:
            server.terminate()
    assert server.returncode == 0
    _run(["ddgan-sample digits --seeds 0-15 --out unserved.png"])
    np.testing.assert_array_equal(Image.open("served.png"), Image.open("unserved.png"))
    Path("unserved.png").unlink()
    assert (folder / "ddgan-perf" / "perf.png").is_file()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_described(name):
    assert f"`{name} " in README


def test_pictures_and_files_exist():
    root = Path(__file__).parent.parent
    for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (root / target).is_file(), target
    assert "DDGAN_" not in README
