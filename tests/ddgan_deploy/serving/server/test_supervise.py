"""What is started anew, how often, and what is not: with a stand-in for the server, and for its python processes."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.serving.server import launch, loading, supervise
from ddgan_deploy.serving.server.command_line import exit_timeout
from ddgan_deploy.serving.server.options import ServerOptions
from ddgan_deploy.serving.server.python_processes import PythonProcesses, context_switches, python_processes
from ddgan_deploy.serving.server.supervise import Supervisor, crashed
from tests.ddgan_deploy.serving.traffic import wait_for

SERVER = """
import http.server, json, os, signal, subprocess, sys, threading, time
from pathlib import Path

if "--help" in sys.argv:
    sys.exit()
folder = Path(__file__).parent
(folder / "starts").open("a").write("x")
words = json.loads((folder / "words").read_text())[(folder / "starts").stat().st_size - 1].split()
given = dict(option.split("=", 1) for option in sys.argv[1:] if "=" in option)

signal.signal(signal.SIGINT, signal.SIG_DFL)

def end(word):
    if word.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, word))
        time.sleep(60)
    os._exit(int(word))

if words[0] == "loading":
    print("E0101 00:00:00.0 1 a.cc:1] it cannot be loaded", flush=True)
    print("E0101 00:00:00.0 1 a.cc:1] Stub process 'x'", *words[2:], flush=True)
    if words[1] == "hangs":
        print("terminate called after throwing", flush=True)
    if words[1] in ("hangs", "stands"):
        time.sleep(60)
    end(words[1])
if words[0] == "deaf":
    # As one that is still answering requests when it is told to end.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if words[0] == "orphan":
    # As a process of the python backend that outlives the server for a moment.
    subprocess.Popen(["sleep", "60"])

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"name": given["--id"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/metrics":
            # The last that it is asked before it counts as ready.
            threading.Timer(0.3, end, [words[-1]]).start()

    def log_message(self, *said):
        pass

for name in ("http", "metrics"):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(given[f"--{name}-port"])), Handler)
    threading.Thread(target=server.serve_forever).start()
"""


class Stage:
    """A supervisor over a server whose n-th start does what ``words[n]`` say.

    A number or a signal is how it ends, a moment after it was ready; with "loading" before, without being ready.

    Attributes:
        log: what was logged.
        ready: how often it was told that the server is ready.
    """

    def __init__(self, folder, monkeypatch) -> None:
        self.folder = folder
        self.log: list[str] = []
        self.ready = 0
        (folder / "models" / "ddgan").mkdir(parents=True)
        (folder / "models" / "ddgan" / "config.pbtxt").touch()
        self.program(f"#!{sys.executable}\n{SERVER}")
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def program(self, text: str) -> None:
        path = self.folder / "tritonserver"
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *words: str) -> int:
        (self.folder / "words").write_text(json.dumps(words))
        options = ServerOptions(self.folder / "models", http_port=0, grpc_port=0, metrics_port=0)
        return Supervisor(options, self.log.append, self._ready).run()

    def _ready(self, options: ServerOptions) -> None:
        self.ready += 1

    @property
    def starts(self) -> int:
        return (self.folder / "starts").stat().st_size


@pytest.fixture
def stage(tmp_path, monkeypatch):
    return Stage(tmp_path, monkeypatch)


@pytest.mark.parametrize("number", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_server_that_a_signal_ended_is_started_anew(stage, number):
    assert stage.run(number, "3") == 3
    assert (stage.starts, stage.ready) == (2, 1)
    assert f"the server was ended by signal {int(signal.Signals[number])}: the server is started anew\n" in stage.log


def test_a_script_around_it_tells_of_the_signal_by_its_exit_code(stage):
    (stage.folder / "real").write_text(SERVER)
    stage.program(f'#!/bin/sh\n"{sys.executable}" "{stage.folder}/real" "$@"\n')
    assert stage.run("SIGSEGV", "3") == 3
    assert stage.starts == 2


@pytest.mark.parametrize(("word", "code"), [("0", 0), ("1", 1), ("255", 255), ("SIGTERM", 143), ("SIGINT", 130)])
def test_an_end_without_a_crash_is_final(stage, word, code):
    assert stage.run(word) == code
    assert stage.starts == 1 and not any("anew" in line for line in stage.log)


def test_not_more_often_than_the_limit(stage, monkeypatch):
    monkeypatch.setattr(supervise, "MOST_STARTS", 2)
    assert stage.run(*["SIGSEGV"] * 4) == 128 + signal.SIGSEGV
    assert stage.starts == 3
    assert stage.log[-1] == (
        "the server was ended by signal 11, after 2 new starts within 300 s: it is not started again\n"
    )


def test_starts_of_long_ago_do_not_count(stage, monkeypatch):
    monkeypatch.setattr(supervise, "MOST_STARTS", 2)
    monkeypatch.setattr(supervise, "STARTS_SECONDS", 0)
    assert stage.run(*["SIGSEGV"] * 4, "3") == 3


CRASHES = ["loading SIGSEGV", "loading hangs", "loading 1 is not healthy."]


def test_a_crash_while_it_loads_anew(stage):
    assert stage.run("SIGSEGV", *CRASHES, "3") == 3
    assert (stage.starts, stage.ready) == (5, 1)


def test_new_starts_that_come_to_nothing_have_a_limit(stage, monkeypatch):
    monkeypatch.setattr(supervise, "MOST_VAIN_STARTS", 1)
    assert stage.run("SIGSEGV", "loading SIGSEGV", "SIGSEGV", "loading SIGSEGV", "loading SIGABRT", "3") == 134
    assert stage.starts == 5
    assert stage.log[-1].endswith("and 1 new starts in a row came to nothing: it is not started again\n")


@pytest.fixture
def judged(monkeypatch):
    """The stand-in is a script."""
    monkeypatch.setattr(loading, "_PROGRAM", Path(sys.executable).resolve().name)
    monkeypatch.setattr(loading, "STILL_POLLS", 20)


def test_one_that_stands_still_while_it_loads_is_started_anew_even_the_first(stage, judged):
    assert stage.run("loading stands", "loading stands", "3") == 3
    assert (stage.starts, stage.ready) == (3, 1)
    anew = "the server stood still while it loaded: the server is started anew\n"
    assert [line for line in stage.log if "stood" in line] == [anew] * 2


def test_one_that_always_stands_still_is_given_up(stage, judged, monkeypatch):
    monkeypatch.setattr(supervise, "MOST_VAIN_STARTS", 1)
    assert stage.run(*["loading stands"] * 3) == 128 + signal.SIGKILL
    assert stage.starts == 2
    assert stage.log[-1].startswith("the server stood still while it loaded, and 1 new starts in a row came to nothing")


@pytest.mark.parametrize("words", [["loading 1"], ["loading SIGSEGV"], ["loading hangs"], ["SIGSEGV", "loading 1"]])
def test_what_may_be_wrong_input_is_final(stage, words):
    with pytest.raises(InputError):
        stage.run(*words)
    assert stage.starts == len(words)


def test_a_signal_to_us_is_the_end(stage):
    supervisor = Supervisor(
        ServerOptions(stage.folder / "models", http_port=0, grpc_port=0, metrics_port=0),
        stage.log.append,
        lambda options: supervisor.forward(signal.SIGTERM),
    )
    (stage.folder / "words").write_text(json.dumps(["SIGSEGV"]))
    assert supervisor.run() == 128 + signal.SIGTERM
    assert stage.starts == 1


@pytest.mark.parametrize("number", ["SIGSEGV", "SIGABRT"])
def test_a_crash_after_a_signal_to_us_is_the_end_that_was_asked_for(stage, number):
    supervisor = Supervisor(
        ServerOptions(stage.folder / "models", http_port=0, grpc_port=0, metrics_port=0),
        stage.log.append,
        lambda options: supervisor.forward(signal.SIGTERM),
    )
    (stage.folder / "words").write_text(json.dumps([f"deaf {number}"]))
    assert supervisor.run() == 0
    assert stage.starts == 1
    crash = f"the server crashed while it ended (signal {int(signal.Signals[number])})"
    assert [line for line in stage.log if "crashed" in line] == [f"{crash}, as release 2.51 does under load\n"]


def test_a_server_that_does_not_end_when_it_is_told_to_is_killed(stage, monkeypatch):
    monkeypatch.setattr(launch, "_GRACE", 0)
    (stage.folder / "words").write_text(json.dumps(["deaf SIGCONT"]))
    ports = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
    options = ServerOptions(stage.folder / "models", **ports, extra=("--exit-timeout-secs=1",))
    supervisor = Supervisor(options, stage.log.append, lambda _: supervisor.forward(signal.SIGTERM))
    begun = time.monotonic()
    assert supervisor.run() == 0
    # By itself it would have ended after a minute.
    assert 1 <= time.monotonic() - begun < 30 and stage.starts == 1
    assert stage.log == ["the server did not end within 1 s: it was killed, and did not answer all\n"]


def test_who_leaves_a_server_waits_as_long(stage, monkeypatch):
    monkeypatch.setattr(launch, "_GRACE", 0)
    (stage.folder / "words").write_text(json.dumps(["deaf SIGCONT"]))
    ports = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
    options = ServerOptions(stage.folder / "models", **ports, extra=("--exit-timeout-secs=1",))
    with launch.started(options, stage.log.append) as running:
        running.wait_ready()
        begun = time.monotonic()
    assert 1 <= time.monotonic() - begun < 25 and running.process.returncode == -signal.SIGKILL


def test_how_long_a_server_has_to_end(tmp_path):
    def seconds(*extra):
        return exit_timeout(ServerOptions(tmp_path, http_port=0, grpc_port=0, metrics_port=0, extra=extra))

    assert seconds() == seconds("--log-verbose=1") == 30
    assert seconds("--exit-timeout-secs=5", "--exit-timeout-secs=120") == 120
    assert seconds("--exit-timeout-secs=soon") == 30


PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def process_1():
    """Orphans become this process's children, as they become those of process 1 of a container."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    prctl(PR_SET_CHILD_SUBREAPER, 0)


def test_orphans_of_a_server_are_buried(stage, process_1):
    before = _children()
    assert stage.run("orphan SIGSEGV", "orphan SIGKILL", "orphan 3") == 3
    assert _children() == before


def _children() -> set[int]:
    """Processes whose parent this is, dead ones among them."""
    done = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return {int(line.split()[0]) for line in done.stdout.splitlines() if line.split()[1] != "ps"}


@pytest.mark.parametrize(
    ("code", "yes"), [(139, True), (137, True), (134, True), (143, False), (128, False), (255, False), (1, False)]
)
def test_what_a_crash_is(code, yes):
    assert crashed(code) == yes


# A process of the python backend, by its name: it leads a session of its own, as the server does.
PROCESS = """
import ctypes, signal, sys, threading, time
ctypes.CDLL(None).prctl(15, b"triton_python_backend_stub")
if sys.argv[1] == "beats":
    threading.Thread(target=lambda: [time.sleep(0.05) for _ in range(2000)], daemon=True).start()
if sys.argv[1] == "computes":
    threading.Thread(target=lambda: [time.sleep(0.05) for _ in range(2000)], daemon=True).start()
    print(flush=True)
    # It holds the interpreter's lock.
    sum(range(10**9))
print(flush=True)
signal.pause()
"""


@pytest.fixture
def process(request):
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS, request.param], stdout=subprocess.PIPE, start_new_session=True
    ) as started:
        started.stdout.readline()
        yield started
        started.kill()


def _polls(processes: PythonProcesses, count: int, settled: bool = True) -> list[tuple[list[int], list[int]]]:
    seen = []
    for _ in range(count):
        seen.append(processes.poll(settled))
        time.sleep(0.1)
    return seen


@pytest.mark.parametrize("process", ["beats", "computes"], indirect=True)
def test_a_process_that_runs(process):
    assert python_processes(process.pid) == [process.pid]
    assert context_switches(process.pid) > 0
    assert _polls(PythonProcesses(process.pid), 15) == [([], [])] * 15


@pytest.mark.parametrize("process", ["beats"], indirect=True)
@pytest.mark.parametrize("settled", [True, False])
def test_a_process_that_a_signal_stops(process, settled):
    processes = PythonProcesses(process.pid)
    assert processes.poll(settled) == ([], [])
    process.send_signal(signal.SIGSTOP)
    wait_for(lambda: _polls(processes, 1, settled) == [([], [process.pid])])


@pytest.mark.parametrize("process", ["waits"], indirect=True)
@pytest.mark.parametrize("settled", [True, False])
def test_a_process_without_a_sign_of_life(process, settled):
    seen = _polls(PythonProcesses(process.pid), 8, settled)
    assert seen[0] == ([], []) and seen[-1] == ([], [process.pid] if settled else [])


@pytest.mark.parametrize("process", ["waits"], indirect=True)
def test_a_kernel_that_does_not_count(process, monkeypatch):
    monkeypatch.setattr("ddgan_deploy.serving.server.python_processes.context_switches", lambda pid: None)
    assert _polls(PythonProcesses(process.pid), 8) == [([], [])] * 8


@pytest.mark.parametrize("process", ["beats"], indirect=True)
def test_a_dead_process_is_dead_even_as_a_zombie(process):
    processes = PythonProcesses(process.pid)
    assert processes.poll(settled=False) == ([], [])
    process.kill()
    wait_for(lambda: processes.poll(settled=False) == ([process.pid], []))
    # Nobody has waited for it yet.
    assert process.returncode is None and python_processes(process.pid) == []
    assert processes.poll(settled=True) == ([process.pid], [])


@pytest.mark.parametrize("process", ["beats"], indirect=True)
def test_processes_of_others_are_none_of_ours(process):
    assert python_processes(os.getsid(0)) == []
    assert PythonProcesses(os.getsid(0)).poll(settled=True) == ([], [])


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_a_program_that_is_only_tried_is_no_process_of_the_server(tmp_path, arguments):
    program = tmp_path / "triton_python_backend_stub"
    program.symlink_to(shutil.which("cat"))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([program, *arguments], start_new_session=True, **pipes) as tried:
        # What comes back says that it runs: before, it has no arguments yet.
        tried.stdin.write(b"\n")
        tried.stdin.flush()
        tried.stdout.readline()
        assert python_processes(tried.pid) == [tried.pid] * len(arguments)
        tried.kill()
