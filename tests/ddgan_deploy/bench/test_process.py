"""Workers that fail in every way, and what is left of them: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.bench.process import Worker, WorkerDied, WorkerError

JOB = SampleJob("onnxruntime", Path("nowhere"), None, threads=1, first_batch=1)


def gone(pid: int) -> bool:
    """Whether a process has ended, or does within seconds."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


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
    assert not one.alive and gone(one._process.pid) and one._process.returncode == 0


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
    one._process.kill()
    with pytest.raises(WorkerDied, match=r"ended by SIGKILL, perhaps for want of memory"):
        one.ask("measure")


def test_one_that_hangs_is_given_up(worker):
    one = worker("hangs", timeout=10)
    one._timeout = 0.2
    with pytest.raises(WorkerDied, match=r"does not answer in 0\.2 s"):
        one.ask("measure")
    assert not one.alive and gone(one._process.pid)


def test_what_it_started_ends_too(worker):
    one = worker("starts a process")
    child = one.ask("measure")
    assert Path(f"/proc/{child}").exists()
    one.close()
    assert gone(child)


def test_it_ends_with_the_process_that_asks(stand_in, tmp_path):
    stand_in({"onnxruntime": "hangs"})
    code = (
        "import sys, pathlib\n"
        "from ddgan_deploy.bench import process\n"
        "from ddgan_deploy.bench.jobs import SampleJob\n"
        f"process._COMMAND = (sys.executable, {str(Path(__file__).with_name('stand_in_worker.py'))!r})\n"
        "job = SampleJob('onnxruntime', pathlib.Path('nowhere'), None, 1, 1)\n"
        f"worker = process.Worker(job, pathlib.Path({str(tmp_path / 'folder')!r}), 60)\n"
        "print(worker._process.pid, flush=True)\n"
        "worker.ask('measure')\n"
    )
    asking = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    pid = int(asking.stdout.readline())
    asking.kill()
    asking.wait()
    asking.stdout.close()
    assert gone(pid)


def test_it_computes_on_as_many_threads_as_it_is_told(worker, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    one = worker(0)
    environment = Path(f"/proc/{one._process.pid}/environ").read_bytes().split(b"\0")
    assert b"OMP_NUM_THREADS=1" in environment
    assert not any(line.startswith(b"TRITON_INTERPRET") for line in environment)
    assert os.getpgid(one._process.pid) != os.getpgrp()
