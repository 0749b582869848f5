"""ddgan-serve as a user runs it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.cli import serve
from ddgan_deploy.serving import MODEL
from ddgan_deploy.serving.client import Client
from ddgan_deploy.serving.server.options import ServerOptions
from ddgan_deploy.serving.server.python_processes import python_processes
from tests.ddgan_deploy.serving.traffic import children, stub, wait_for

PORTS = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
COMMAND = [sys.executable, "-m", "ddgan_deploy.cli.serve"]


@contextlib.contextmanager
def serving(*argv: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command, and what it printed when it was ready."""
    with subprocess.Popen(
        [*COMMAND, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Under nohup it would be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    ) as process:
        # What is not read would stop it.
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.extend(process.stderr))
        reader.start()
        try:
            lines = [process.stdout.readline().rstrip() for _ in range(6)]
            assert lines[0].startswith("ready: "), errors
            yield process, lines
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            reader.join()


def _server_pid(process: subprocess.Popen[str]) -> int:
    (pid,) = children(process.pid)
    return pid


@pytest.fixture(scope="module")
def running(tritonserver, digits):
    with serving("--repository", str(digits), *PORTS) as (process, lines):
        yield process, lines


@pytest.mark.usefixtures("tritonserver")
class TestReal:
    def test_it_says_where(self, running, digits):
        _, lines = running
        assert lines[0] == f"ready: {digits.resolve() / 'model_repository'}"
        for name, line in zip(("HTTP     http", "gRPC     grpc", "metrics  http"), lines[1:4], strict=True):
            assert re.fullmatch(rf"  {name}://127\.0\.0\.1:\d+(/metrics)?", line)

    def test_the_curl_line_draws(self, running, digits):
        _, lines = running
        answer = json.loads(subprocess.check_output(shlex.split(lines[5])))
        (output,) = answer["outputs"]
        expected = open_artifact(digits).generate([3])
        np.testing.assert_array_equal(np.reshape(output["data"], output["shape"]), expected)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_signals_end_the_server(self, digits, number):
        with serving("--repository", str(digits), *PORTS) as (process, _):
            pid = _server_pid(process)
            process.send_signal(number)
            assert process.wait(60) == 0
            assert not Path(f"/proc/{pid}").exists()

    def test_it_is_started_anew_when_its_python_process_dies(self, digits):
        def draw(url: str) -> np.ndarray:
            """Images of single requests, until the new server has answered some."""
            images, of_new = [], 0
            with Client(url, retries=40) as client:
                while of_new < 5:
                    images.append(client.generate([len(images)]))
                    of_new += not Path(f"/proc/{first}").exists()
            return np.concatenate(images)

        with serving("--repository", str(digits), *PORTS) as (process, lines), ThreadPoolExecutor(2) as threads:
            first = _server_pid(process)
            for pid in python_processes(first):
                assert Path(f"/proc/{pid}/cmdline").read_bytes().count(b"/model.py")
            drawn = [threads.submit(draw, line.split()[1]) for line in lines[1:3]]
            os.kill(stub(first, MODEL), signal.SIGKILL)
            # Clients notice nothing but the time that it takes.
            for images in (answer.result() for answer in drawn):
                np.testing.assert_array_equal(images, open_artifact(digits).generate(range(len(images))))
            (second,) = children(process.pid)
            assert second != first
            # And once more, to be told to end while it loads.
            os.kill(python_processes(second)[0], signal.SIGKILL)
            wait_for(lambda: children(process.pid).keys() - {second})
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0

    def test_the_server_does_not_outlive_it(self, digits):
        with serving("--repository", str(digits), *PORTS) as (process, _):
            server = _server_pid(process)
            left = [server, *python_processes(server)]
            process.kill()
            wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))

    def test_a_signal_while_it_loads_ends_it(self, digits):
        with subprocess.Popen([*COMMAND, "--repository", str(digits), *PORTS], stdout=subprocess.PIPE) as process:
            while not (started := children(process.pid)):
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert not any(Path(f"/proc/{pid}").exists() for pid in started)
            assert process.stdout.read() == b""

    def test_further_options_reach_the_server(self, digits):
        argv = ["--repository", str(digits), *PORTS, "--", "--no-such-option"]
        done = subprocess.run([*COMMAND, *argv], capture_output=True, text=True)
        assert done.returncode == 2 and "no-such-option" in done.stderr


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (
            ServerOptions(Path("m"), "::"),
            ["  HTTP     http://[::1]:8000", "  gRPC     grpc://[::1]:8001", "  metrics  http://[::1]:8002/metrics"],
        ),
        (
            ServerOptions(Path("m"), "0.0.0.0", extra=("--allow-grpc=false", "--allow-metrics=false")),
            ["  HTTP     http://127.0.0.1:8000"],
        ),
    ],
)
def test_it_says_what_this_machine_reaches(capsys, options, lines):
    serve._print_addresses(options)
    ready, *addresses, sample, curl = capsys.readouterr().out.splitlines()
    assert (ready, addresses) == ("ready: m", lines)
    # Brackets would be patterns of files' names to a shell.
    url = lines[0].split()[1]
    assert shlex.split(sample)[2:4] == ["--url", url] and ("'" in sample) is ("[" in url)
    assert shlex.split(curl)[2] == f"{url}/v2/models/ddgan/infer"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "the following arguments are required: --repository"),
        (["--repository", "/nonexistent"], "/nonexistent does not exist"),
        (["--repository", "/", "--http-port", "http"], "invalid int value: 'http'"),
    ],
)
def test_wrong_input_is_one_line(capsys, argv, says):
    assert serve.main(argv) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_without_a_server(capsys, digits, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("ddgan_deploy.serving.server.tritonserver.server_folder", lambda: tmp_path)
    assert serve.main(["--repository", str(digits), *PORTS]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: there is no tritonserver on PATH") and error.count("\n") == 1
