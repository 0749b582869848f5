"""A process that stood still ends itself before it answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ddgan_deploy.serving.backend import heartbeat
from ddgan_deploy.serving.backend.heartbeat import LONGEST_PAUSE, Heartbeat
from ddgan_deploy.serving.backend.model import Model
from ddgan_deploy.serving.python_backend import PngModel
from tests.ddgan_deploy.serving.backend import fake_backend_utils as fake

LONG, SHORT = LONGEST_PAUSE + 0.1, LONGEST_PAUSE - 0.1


class _Ended(Exception):
    pass


@pytest.fixture
def clocks(monkeypatch):
    """What the monotonic clock and the one of the day show, to be set; and a process that only says that it ends."""

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (os.getpid(), signal.SIGKILL)
        raise _Ended

    now = [100.0, 5000.0]
    monkeypatch.setattr(heartbeat, "_clocks", lambda: tuple(now))
    monkeypatch.setattr(heartbeat.os, "kill", kill)
    monkeypatch.setattr(heartbeat.threading.Thread, "start", lambda thread: None)
    return now


def _advance(clocks: list[float], *seconds: float) -> None:
    clocks[:] = [now + more for now, more in zip(clocks, seconds, strict=True)]


# The server waits by the clock of the day, which goes on while a laptop sleeps, and may be set.
@pytest.mark.parametrize("pause", [(LONG, LONG), (0.0, LONG), (LONG, -3600.0)])
def test_a_pause_ends_it(clocks, capfd, pause):
    heart = Heartbeat()
    heart.start()
    _advance(clocks, *pause)
    with pytest.raises(_Ended):
        heart.beat()
    assert capfd.readouterr().err == f"process {os.getpid()} of the python backend stood still for 0.7 s: it ends\n"


@pytest.mark.parametrize("pause", [(SHORT, SHORT), (SHORT, -3600.0)])
def test_what_lasts_no_longer_than_other_work_does_not(clocks, pause):
    heart = Heartbeat()
    heart.start()
    for _ in range(5):
        _advance(clocks, *pause)
        heart.beat()


def test_before_its_start_nothing_counts(clocks):
    heart = Heartbeat()
    heart.beat()
    _advance(clocks, LONG, LONG)
    heart.beat()
    heart.start()
    heart.beat()


@pytest.mark.parametrize("late", ["before", "during"])
def test_a_late_answer_is_not_handed_on(clocks, late):
    class Late(Model):
        server = fake
        _heart = Heartbeat()

    def run(inputs):
        ran.append(len(inputs))
        _advance(clocks, *(pauses["during"],) * 2)
        return [[fake.Tensor("y", each["x"])] for each in inputs]

    ran: list[int] = []
    pauses = {"before": 0.0, "during": 0.0, late: LONG}
    model = Late()
    model.initialize({"model_config": json.dumps({"input": [{"name": "x", "dims": [1]}], "output": [{"name": "y"}]})})
    model._heart.start()
    _advance(clocks, *(pauses["before"],) * 2)
    with pytest.raises(_Ended):
        model.answers([fake.Request({"x": np.zeros((1, 1))})], run)
    assert ran == ([] if late == "before" else [1])


def test_the_encoder_starts_it(monkeypatch):
    started = []
    monkeypatch.setattr(Heartbeat, "start", lambda heart: started.append(heart))
    model = PngModel()
    model.initialize({"model_config": json.dumps({"input": [], "output": []})})
    assert started == [model._heart]


PROGRAM = """
import sys, time
from ddgan_deploy.serving.backend.heartbeat import Heartbeat
Heartbeat().start()
print("started", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("stopped", [True, False])
def test_a_process_that_was_stopped(stopped):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "started\n"
        if stopped:
            process.send_signal(signal.SIGSTOP)
            time.sleep(LONGEST_PAUSE + 0.3)
            process.send_signal(signal.SIGCONT)
            process.wait(20)
        _, says = process.communicate()
    assert process.returncode == (-signal.SIGKILL if stopped else 0)
    assert ("stood still" in says) == stopped
