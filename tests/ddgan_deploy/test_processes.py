"""Workers that fail in every way, and what is left of them: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.processes import Worker, WorkerEnded, WorkerSilent

SERVING = """import os, signal, subprocess, sys, time
from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.processes import serve

def answer(request, report):
    {}

serve(answer)
"""


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


def command(body: str) -> tuple[str, ...]:
    return sys.executable, "-c", SERVING.format(body)


@pytest.fixture
def worker(tmp_path) -> Iterator[Callable[..., Worker]]:
    """Starts one whose answer is the body of a function of ``request`` and ``report``."""
    started = []

    def start(body: str) -> Worker:
        started.append(Worker(command(body), tmp_path / "output"))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_it_answers_and_ends_when_it_is_no_longer_needed(worker):
    one = worker("return request + 1")
    assert [one.ask(number) for number in (1, 5)] == [2, 6]
    assert one.close() == 0
    assert one.close() == 0
    assert not one.alive and gone(one.pid)


def test_it_tells_of_its_progress(worker):
    told = []
    one = worker("report(0.5, 'half'); print('noise'); report(1.0, 'all'); return request")
    assert one.ask("x", lambda *message: told.append(message)) == "x"
    assert told == [(0.5, "half"), (1.0, "all")]


def test_what_is_written_to_the_screen_goes_to_the_file(worker, tmp_path, capfd):
    one = worker("print('one'); print('other', file=sys.stderr); os.system('echo third')")
    one.ask(None)
    one.close()
    assert sorted((tmp_path / "output").read_text().split()) == ["one", "other", "third"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("error", [InputError, GateError, FileNotFoundError, ConnectionResetError], ids=repr)
def test_an_error_costs_only_its_answer(worker, error):
    one = worker(f"if request: raise {error.__name__}('why')")
    with pytest.raises(error, match=r"^why$"):
        one.ask(True)
    assert one.alive and one.ask(False) is None


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("os.kill(os.getpid(), 11)", -signal.SIGSEGV, "it ended by SIGSEGV"),
        ("os.kill(os.getpid(), 9)", -signal.SIGKILL, "it ended by SIGKILL"),
        (
            "print('terminate called\\n \\n', file=sys.stderr, flush=True); os.abort()",
            -signal.SIGABRT,
            "it ended by SIGABRT: terminate called",
        ),
        ("sys.exit(3)", 3, "it ended with exit code 3"),
        ("raise ValueError('x' * 300)", 1, f"it ended with exit code 1: ValueError: {'x' * 188}"),
    ],
)
def test_a_crash_is_told_in_words(worker, body, code, message):
    one = worker(body)
    with pytest.raises(WorkerEnded) as caught:
        one.ask(None)
    assert caught.value.code == code and str(caught.value) == message
    assert not one.alive


def test_one_that_ends_before_it_reads(tmp_path):
    with (
        Worker((sys.executable, "-c", "raise SystemExit(4)"), tmp_path / "output") as one,
        pytest.raises(WorkerEnded, match="exit code 4"),
    ):
        # More than the channel takes before somebody reads.
        one.ask(bytes(2**24))


def test_one_that_hangs_is_given_up(worker):
    one = worker("time.sleep(request)")
    one.ask(0)
    with pytest.raises(WorkerSilent):
        one.ask(1000, timeout=0.2)
    assert not one.alive and gone(one.pid)


def test_an_interruption_ends_it_at_once(worker):
    def interrupt(share: float, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), worker("report(0, ''); time.sleep(1000)") as one:
        one.ask(None, interrupt)
    assert not one.alive and gone(one.pid)


def test_ctrl_c_is_not_for_it(worker):
    one = worker("return request")
    one.ask(0)
    os.kill(one.pid, signal.SIGINT)
    assert one.ask(1) == 1
    assert os.getpgid(one.pid) != os.getpgrp()


def test_what_it_started_ends_too(worker):
    one = worker("return subprocess.Popen(['sleep', '1000']).pid")
    child = one.ask(None)
    assert Path(f"/proc/{child}").exists()
    one.close()
    assert gone(child)


def test_it_ends_with_the_process_that_asks(tmp_path):
    code = (
        "import pathlib\n"
        "from ddgan_deploy.processes import Worker\n"
        f"worker = Worker({command('report(os.getpid(), str()); time.sleep(1000)')!r}, "
        f"pathlib.Path({str(tmp_path / 'output')!r}))\n"
        "worker.ask(None, lambda pid, what: print(pid, flush=True))\n"
    )
    asking = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    pid = int(asking.stdout.readline())
    asking.kill()
    asking.wait()
    asking.stdout.close()
    assert gone(pid)


def test_it_has_the_environment_that_it_is_given(tmp_path):
    environment = {**os.environ, "OF_ITS_OWN": "1"}
    with Worker(command("return os.environ.get(request)"), tmp_path / "output", environment) as one:
        assert one.ask("OF_ITS_OWN") == "1"
