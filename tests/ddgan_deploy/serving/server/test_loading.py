"""Which server that loads stands still, and which one gets on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddgan_deploy.serving.server import loading
from ddgan_deploy.serving.server.loading import Loading, StandsStill

POLLS = 20
PYTHON = Path(sys.executable).resolve().name
DOES = {
    "waits": "time.sleep(60)",
    # As the threads by which a process of the python backend shows that it lives.
    "beats": "[time.sleep(0.05) for _ in range(1200)]",
    "computes": "[sum(range(10**5)) for _ in iter(int, 1)]",
    "reads": "[(time.sleep(0.05), os.read(0, 1)) for _ in range(1200)]",
    "starts processes": "[(time.sleep(0.3), subprocess.Popen(['sleep', '60'])) for _ in range(50)]",
    "starts one that computes": "subprocess.Popen([sys.executable, '-c', 'while True: pass']); time.sleep(60)",
}


@pytest.fixture
def server(request):
    code = f"import os, subprocess, sys, time; print(flush=True); {DOES[request.param]}"
    with Path("/dev/zero").open("rb") as zeros:
        command = [sys.executable, "-c", code]
        with subprocess.Popen(command, start_new_session=True, stdin=zeros, stdout=subprocess.PIPE) as started:
            started.stdout.readline()
            yield started.pid
            os.killpg(started.pid, signal.SIGKILL)


def _loads(server: int, monkeypatch: pytest.MonkeyPatch, says: bool = False, program: str = PYTHON) -> None:
    """Polls for longer than it may stand still."""
    monkeypatch.setattr(loading, "STILL_POLLS", POLLS)
    monkeypatch.setattr(loading, "_PROGRAM", program)
    polled = Loading(server)
    for count in range(2 * POLLS + 10):
        polled.poll(count // 10 if says else 0)
        time.sleep(loading.POLL_SECONDS)


@pytest.mark.parametrize("server", ["waits", "beats"], indirect=True)
def test_it_stands_still(server, monkeypatch):
    with pytest.raises(StandsStill, match="^the server has stood still for 2 s while it loaded: start it again$"):
        _loads(server, monkeypatch)


@pytest.mark.parametrize("server", ["computes", "reads", "starts processes", "starts one that computes"], indirect=True)
def test_it_gets_on(server, monkeypatch):
    _loads(server, monkeypatch)


@pytest.mark.parametrize("server", ["waits"], indirect=True)
def test_one_that_says_something_gets_on(server, monkeypatch):
    _loads(server, monkeypatch, says=True)


@pytest.mark.parametrize("server", ["waits"], indirect=True)
def test_where_the_kernel_does_not_tell_what_was_read_nothing_is_concluded(server, monkeypatch):
    monkeypatch.setattr(loading, "_IO", "/proc/{pid}/there is none")
    _loads(server, monkeypatch)


@pytest.mark.parametrize("server", ["waits"], indirect=True)
def test_a_server_that_a_script_has_started_elsewhere_is_not_judged(server, monkeypatch):
    _loads(server, monkeypatch, program="tritonserver")
