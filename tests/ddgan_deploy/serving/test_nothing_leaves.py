"""Nothing leaves the machine, nothing is written but what was asked for: export, sample, serve and play, watched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ddgan_deploy.engines import openvino
from tests.conftest import DATA, golden_case
from tests.ddgan_deploy.play.browsing import playing

SOURCE = Path(__file__).with_name("no_network.cc")
HOMES = ("unwritable", "empty")
CACHES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "ORT_DISABLE_TELEMETRY")
"""What would hide that something is written into HOME, or asks to be."""


@pytest.fixture(scope="module")
def no_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared object that refuses programs the network and notes what they tried."""
    compiler = os.environ.get("CXX") or shutil.which("c++")
    if compiler is None:
        reason = "there is no C++ compiler"
        pytest.fail(reason) if "CI" in os.environ else pytest.skip(reason)
    shared_object = tmp_path_factory.mktemp("no_network") / "no_network.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(shared_object), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return shared_object


@dataclass(frozen=True)
class Watched:
    """Where a program runs that has no network.

    Attributes:
        folder: its working folder.
        home, temporary: HOME and TMPDIR.
        log: what it tried to reach, a line each.
    """

    folder: Path
    home: Path
    temporary: Path
    log: Path
    shared_object: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in CACHES}
        places = {
            "HOME": self.home,
            "TMPDIR": self.temporary,
            "NO_NETWORK_LOG": self.log,
            "LD_PRELOAD": self.shared_object,
        }
        return {**kept, **{name: str(place) for name, place in places.items()}}

    def run(self, module: str, *lines: Sequence[object]) -> None:
        """Runs a command to its end, once for each line of arguments, in one process."""
        code = f"import json, sys; from {module} import main; sys.exit(max(map(main, json.loads(sys.argv[1]))))"
        command = [sys.executable, "-c", code, json.dumps([[str(argument) for argument in line] for line in lines])]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    @contextmanager
    def serving(self, repository: str) -> Iterator[dict[str, str]]:
        """Protocol -> address of a server."""
        ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
        command = [sys.executable, "-m", "ddgan_deploy.cli.serve", "--repository", repository, *ports]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, cwd=self.folder, env=self.environment, text=True, **pipes) as process:
            said: list[str] = []
            reader = threading.Thread(target=lambda: said.extend(process.stderr))
            reader.start()
            try:
                lines = [process.stdout.readline() for _ in range(3)]
                assert lines[0].startswith("ready: "), said
                yield {"http": lines[1].split()[1], "grpc": lines[2].split()[1]}
            finally:
                process.terminate()
                process.wait()
                reader.join()


@pytest.fixture(params=HOMES)
def watched(no_network: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Watched:
    made = Watched(*(tmp_path / name for name in ("work", "home", "tmp", "tried.txt")), no_network)
    for folder in (made.folder, made.temporary):
        folder.mkdir()
    # Nobody can write below a file, not even root.
    made.home.touch() if request.param == "unwritable" else made.home.mkdir()
    return made


def test_the_shared_object_refuses_and_notes(watched):
    code = """
import socket
for reach in (
    lambda: socket.getaddrinfo("example.org", 80),
    lambda: socket.socket().connect(("192.0.2.1", 80)),
    lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("192.0.2.2", 53)),
):
    try:
        reach()
    except OSError:
        continue
    raise SystemExit(1)
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
"""
    subprocess.run([sys.executable, "-c", code], env=watched.environment, check=True)
    tried = [line.split()[1:] for line in watched.log.read_text().splitlines()]
    # An address, too, is looked up first.
    assert ["getaddrinfo", "example.org"] in tried
    assert {target for _, target in tried} == {"example.org", "192.0.2.1", "2001:db8::1", "192.0.2.2"}


@pytest.mark.usefixtures("tritonserver")
def test_nothing_leaves(watched):
    golden = golden_case("no_fir_t2")
    source = ("--ckpt", golden.path, "--config", golden.config, "--steps", golden.steps)
    watched.run("ddgan_deploy.export.cli", [*source, "--out", "made", "--engine", "none", "--no-verify"])
    sources = {"onnxruntime": ("made", "--engine", "onnxruntime")}
    if openvino.installed():
        sources["openvino"] = ("made", "--engine", "openvino-f32")
    with watched.serving("made") as addresses:
        sources |= {protocol: ("--url", address) for protocol, address in addresses.items()}
        lines = [(*arguments, "--seeds", "0-3", "--npz", f"{name}.npz") for name, arguments in sources.items()]
        watched.run("ddgan_deploy.cli.sample", *lines)
    assert not watched.log.exists(), watched.log.read_text()
    assert watched.home.is_file() or not list(watched.home.iterdir())
    # PyTorch makes a folder for its compiler, and leaves it empty.
    assert not [path for path in watched.temporary.rglob("*") if not path.is_dir()]
    assert {path.name for path in watched.folder.iterdir()} == {"made", *(f"{name}.npz" for name in sources)}
    images = [np.load(watched.folder / f"{name}.npz")["images"] for name in sources]
    assert all(np.abs(drawn.astype(int) - images[0]).max() <= 1 for drawn in images)


def test_nothing_leaves_of_a_page(watched):
    with playing(DATA / "format1" / "artifact", cwd=watched.folder, env=watched.environment) as (_, url):
        for path in ("", "config", "theme.css", "gradio_api/info"):
            with urllib.request.urlopen(f"{url}/{path}") as answer:
                assert answer.read()
        assert list(watched.temporary.rglob("ddgan-play-*"))
    assert not watched.log.exists(), watched.log.read_text()
    assert watched.home.is_file() or not list(watched.home.iterdir())
    assert not list(watched.temporary.iterdir())
    assert not list(watched.folder.iterdir())
