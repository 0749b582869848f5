"""The commands and the code of the README and of docs/, run as they stand."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddgan_deploy.cli import bench, bulk, perf, play, sample, serve, verify
from ddgan_deploy.export import cli as export_command
from tests.ddgan_deploy.play.browsing import playing

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "examples/digits/README.md")
COMMANDS = {
    "ddgan-export": export_command.main,
    "ddgan-sample": sample.main,
    "ddgan-bulk": bulk.main,
    "ddgan-verify": verify.main,
    "ddgan-bench": bench.main,
    "ddgan-serve": serve.main,
    "ddgan-perf": perf.main,
    "ddgan-play": play.main,
}
LINES, SERVER, AGAINST_SERVER = "these lines", "this server", "these lines against it"
CODE, PAGE = "this code", "this page"
_BLOCK = re.compile(r"(?:<!-- the test-suite runs (?P<mark>[^>]+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.S)


def _blocks(page: Path, language: str) -> Iterator[tuple[str, str]]:
    """The blocks of one language: what the test-suite runs of each, "" where it runs nothing, and the block."""
    for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        if found["language"] == language:
            yield found["mark"] or "", found["text"]


def _marked(page: Path, mark: str, language: str = "console") -> list[str]:
    blocks = [text for found, text in _blocks(page, language) if found == mark]
    assert blocks, f"{page} has no block that the test-suite runs as {mark}"
    return blocks


def _lines(page: Path, mark: str) -> list[str]:
    return [line for block in _marked(page, mark) for line in block.strip().splitlines()]


def _run(lines: list[str]) -> None:
    for line in lines:
        name, *arguments = shlex.split(line, comments=True)
        assert COMMANDS[name](arguments) == 0, line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the README's first commands ran."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("readme")
        patch.chdir(path)
        lines = _lines(README, LINES)
        assert len(lines) >= 3
        _run(lines)
        return path


def test_commands(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert {"digits", "grid.png"} <= {path.name for path in folder.iterdir()}
    # The page begins with the README's own export.
    export, *others = _lines(ROOT / "docs" / "export.md", LINES)
    assert export == "ddgan-export --demo --out digits"
    _run([*others, *_lines(ROOT / "docs" / "parity.md", LINES)])
    made = {"digits", "digits-fp16", "grid.png", "strip.png", "singles", "images.npz"}
    assert made <= {path.name for path in folder.iterdir()} <= {*made, "served.png", "ddgan-perf", "speed.json"}


def test_code(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for code in _marked(ROOT / "docs" / "python.md", CODE, "python"):
        names: dict[str, object] = {}
        exec(compile(code, "docs/python.md", "exec"), names)
        assert len(names) > 2


def _free_ports(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def test_benchmark(folder, monkeypatch):
    monkeypatch.chdir(folder)
    _run(_lines(ROOT / "docs" / "ddgan-bench.md", LINES))
    assert {row["engine"] for row in json.loads(Path("speed.json").read_text())["rows"]} == {
        "pytorch-eager",
        "onnxruntime",
        "openvino-f32",
    }


def test_bulk(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("digits").symlink_to(folder / "digits")
    _run(_lines(ROOT / "docs" / "bulk.md", LINES))
    assert np.load("many/samples_300x16x16x1.npz")["arr_0"].shape == (300, 16, 16, 1)
    assert len(list(Path("tars").glob("*.tar"))) == 3


def test_serving(folder, monkeypatch):
    monkeypatch.chdir(folder)
    ports = dict(zip(("8000", "8001", "8002"), _free_ports(3), strict=True))
    (line,) = _lines(README, SERVER)
    arguments = shlex.split(line)[1:] + [
        part for name, port in zip(("http", "grpc", "metrics"), ports.values(), strict=True)
        for part in (f"--{name}-port", port)
    ]  # fmt: skip
    command = [sys.executable, "-m", "ddgan_deploy.cli.serve", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout.readline().startswith("ready")
            lines = _lines(README, AGAINST_SERVER)
            _run([re.sub(r"\b800[012]\b", lambda port: ports[port[0]], line) for line in lines])
        finally:
            server.terminate()
    assert server.returncode == 0
    _run(["ddgan-sample digits --seeds 0-15 --out unserved.png"])
    np.testing.assert_array_equal(Image.open("served.png"), Image.open("unserved.png"))
    Path("unserved.png").unlink()
    assert (folder / "ddgan-perf" / "perf.png").is_file()


def test_play(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (line,) = _lines(ROOT / "docs" / "play.md", PAGE)
    with playing(*shlex.split(line)[1:]) as (_, url), urllib.request.urlopen(url) as page:
        assert b"ddgan-play" in page.read()


def test_every_mark_is_one_that_is_run():
    run = {
        README: {LINES, SERVER, AGAINST_SERVER},
        ROOT / "docs" / "export.md": {LINES},
        ROOT / "docs" / "parity.md": {LINES},
        ROOT / "docs" / "ddgan-bench.md": {LINES},
        ROOT / "docs" / "bulk.md": {LINES},
        ROOT / "docs" / "play.md": {PAGE},
        ROOT / "docs" / "python.md": {CODE},
    }
    for page in PAGES:
        marks = {mark for language in ("console", "python") for mark, _ in _blocks(page, language)} - {""}
        assert marks == run.get(page, set()), page
        assert page.read_text(encoding="utf-8").count("<!-- the test-suite runs") == sum(
            bool(found["mark"]) for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
        ), f"a mark in {page} does not stand right above its block"


def test_every_command_of_the_readme_is_run_but_those_of_make():
    for mark, block in _blocks(README, "console"):
        assert mark or all(line.startswith("make ") for line in block.splitlines()), block


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_has_the_targets(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:^|`)make ([a-z][\w-]*)", page.read_text(encoding="utf-8"), re.M))
    assert named <= targets


@pytest.fixture(scope="module")
def flags():
    """Command -> the flags that its help names."""

    def help_of(name: str) -> str:
        module = COMMANDS[name].__module__
        command = [sys.executable, "-m", module, "--help"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    return {name: set(re.findall(r"--[a-z][\w-]*", help_of(name))) for name in COMMANDS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_have_the_flags(page, flags):
    text = page.read_text(encoding="utf-8").replace("\\\n", " ").replace("\\|", " ")
    for name, arguments in re.findall(r"(?:^|`)(ddgan-[a-z]+) ([^`\n]*)", text, re.M):
        # What follows a lone -- is tritonserver's.
        ours = arguments.partition("#")[0].partition(" -- ")[0]
        assert set(re.findall(r"(?<!\S)\[?(--[a-z][\w-]*)", ours)) <= flags[name], f"{name} {arguments}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_names_what_there_is(page):
    for _, code in _blocks(page, "python"):
        compile(code, str(page), "exec")
        for line in re.findall(r"^from ddgan_deploy\S* import .*", code, re.M):
            # Plugins need TensorRT, which the tests stand in for.
            if "trt_launch" not in line:
                exec(line, {})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_described(name):
    assert f"`{name} " in README.read_text(encoding="utf-8")


def test_the_readme_is_short():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    # Variables of the environment are for those who read on.
    assert "DDGAN_" not in text
