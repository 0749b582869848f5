"""Workers of a benchmark that fail in every way: what is told of it, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.bench.process import Worker, WorkerDied, WorkerError
from tests.ddgan_deploy.test_processes import gone

JOB = SampleJob("onnxruntime", Path("nowhere"), None, threads=1, first_batch=1)


@pytest.fixture
def worker(stand_in, tmp_path):
    """Starts one that behaves in a given way."""
    started = []

    def start(behaviour: object, timeout: float = 60) -> Worker:
        stand_in({"onnxruntime": behaviour})
        started.append(Worker(JOB, tmp_path / str(len(started)), timeout))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_it_answers(worker):
    one = worker(0.25)
    one.ask("prepare", 4)
    assert one.ask("measure") == 1.0
    one.close()
    one.close()
    assert not one.alive and gone(one.pid)


def test_an_error_costs_only_its_answer(worker):
    one = worker("refuses batch 2")
    with pytest.raises(WorkerError, match=r"^RuntimeError: batch 2 is too large$") as error:
        one.ask("prepare", 2)
    assert not isinstance(error.value, WorkerDied) and one.alive
    one.ask("prepare", 3)


@pytest.mark.parametrize(
    ("behaviour", "message"), [("not here", "it is not installed: install it"), ("breaks", "ValueError: first line")]
)
def test_what_cannot_be_opened_leaves_no_process(worker, monkeypatch, behaviour, message):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *args, **kwargs: started.append(popen(*args, **kwargs)) or started[-1]
    )
    with pytest.raises(WorkerError, match=f"^{message}$"):
        worker(behaviour)
    assert started[0].returncode is not None


def test_a_crash_is_told_in_words(worker):
    one = worker("dies")
    with pytest.raises(WorkerDied, match=r"^its process ended by SIGABRT: out of luck$"):
        one.ask("measure")
    assert not one.alive


def test_one_that_was_killed(worker):
    one = worker(0)
    os.kill(one.pid, signal.SIGKILL)
    with pytest.raises(WorkerDied, match=r"^its process ended by SIGKILL, perhaps for want of memory"):
        one.ask("measure")


def test_one_that_hangs_is_given_up(worker):
    one = worker("hangs", timeout=10)
    one._timeout = 0.2
    with pytest.raises(WorkerDied, match=r"does not answer in 0\.2 s"):
        one.ask("measure")
    assert not one.alive and gone(one.pid)


def test_it_computes_on_as_many_threads_as_it_is_told(worker, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    one = worker(0)
    environment = Path(f"/proc/{one.pid}/environ").read_bytes().split(b"\0")
    assert b"OMP_NUM_THREADS=1" in environment
    assert not any(line.startswith(b"TRITON_INTERPRET") for line in environment)
