"""Start Triton Inference Server, wait until it is ready, end it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import signal
import subprocess
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path

from ddgan_deploy.errors import InputError
from ddgan_deploy.gpu import has_gpu
from ddgan_deploy.processes import ended_with_parent
from ddgan_deploy.serving import CACHE_VARIABLE
from ddgan_deploy.serving.installed import FETCH
from ddgan_deploy.serving.server.command_line import command_line, exit_timeout
from ddgan_deploy.serving.server.environment_folders import environment_folders_removed
from ddgan_deploy.serving.server.loading import POLL_SECONDS, Loading
from ddgan_deploy.serving.server.log import PREINITIALIZE, TERMINATE, cause, is_noise, last_word
from ddgan_deploy.serving.server.options import ServerOptions, checked, model_folders
from ddgan_deploy.serving.server.tritonserver import found_server, temporary_links

_GRACE = 10
"""Seconds beyond those that the server gives its requests to end, after which it will not end by itself: out of time it
crashes, and in its own handler of crashes it may wait for ever (seen with 2.51)."""
_METRICS_POLLS = 30
_KEPT_LINES = 1000
_HANGS = (PREINITIALIZE, TERMINATE)
"""After these the server waits for the python backend for ever (seen with 2.51)."""
_NOT_LOADED = 127
"""With it the dynamic linker ends a program that lacks a library."""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class RunningServer:
    """A started server; what it says goes to ``log``, but not before it is ready.

    Args:
        options: with the ports that it listens on.
        repository: where the server finds the models; its log names the options' instead.
        process: the server, the leader of a process group.
        name: that the server tells to who asks.
        log: takes a line.

    Attributes:
        ready: whether it has been.
    """

    def __init__(
        self,
        options: ServerOptions,
        repository: Path,
        process: subprocess.Popen[str],
        name: str,
        log: Callable[[str], None],
    ) -> None:
        self.options = options
        self._repository = str(repository)
        self._name = name
        self.process = process
        self._log = log
        self._held: deque[str] = deque(maxlen=_KEPT_LINES)
        self._lines = 0
        self._lock = threading.Lock()
        self.ready = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        """Returns when every model has loaded and warmed up.

        Raises:
            InputError: the server ended instead, or never will be ready; says why.
            StandsStill: of these, where it does nothing any more.
        """
        self._wait(self._answers)
        # The port that it opens last, and where it cannot it ends. It may be where we do not look for it.
        if self.options.allows("metrics"):
            self._wait(self._shows_metrics, polls=_METRICS_POLLS)
        gpu = has_gpu()
        with self._lock:
            for line in self._held:
                if not is_noise(line, gpu):
                    self._say(line)
            self.ready = True

    def _wait(self, answers: Callable[[], bool], polls: int | None = None) -> None:
        """Returns when it answers, or after so many polls."""
        loading = Loading(self.process.pid)
        for count in itertools.count():
            if count == polls or answers():
                return
            loading.poll(self._lines)
            hangs = any(sign in line for line in list(self._held) for sign in _HANGS)
            if self.poll(POLL_SECONDS) is not None or hangs:
                raise InputError(self._failure())

    def poll(self, seconds: float) -> int | None:
        """Waits for so long; then the server's exit code, of a shell's kind where a signal ended it, or None."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(seconds)
        return code if code >= 0 else 128 - code

    @property
    def patience(self) -> float:
        """Seconds from being told to end, in which it has ended or never will."""
        return exit_timeout(self.options) + _GRACE

    def stop(self, seconds: float | None = None) -> None:
        """Ends the server as SIGTERM does: requests in flight are answered.

        Args:
            seconds: after which it is ended by force; None: its `patience`.
        """
        self.process.terminate()
        if self.poll(self.patience if seconds is None else seconds) is None:
            self.kill()
            self.process.wait()

    def kill(self) -> None:
        """Ends the server, and every process that it has started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def wait(self) -> int:
        """The server's exit code, as of `poll`, when it has ended."""
        while (code := self.poll(1)) is None:
            pass
        return code

    def said(self, words: str) -> bool:
        """Whether a line of its log before it was ready has the words in it."""
        with self._lock:
            return any(words in line for line in self._held)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            self._lines += 1
            line = raw.replace(self._repository, str(self.options.repository))
            with self._lock:
                if self.ready:
                    self._say(line)
                else:
                    self._held.append(line)

    def _say(self, line: str) -> None:
        # Read on where nobody takes it: a full pipe would stop the server.
        with contextlib.suppress(OSError):
            self._log(line)

    def _answers(self) -> bool:
        server = f"http://{self.options.http}/v2"
        try:
            # No proxy, and no server but this one, though another may hold the port by now.
            with _DIRECT.open(f"{server}/health/ready", timeout=5) as answer:
                ready = answer.status == 200
            with _DIRECT.open(server, timeout=5) as answer:
                return bool(ready and json.load(answer)["name"] == self._name)
        except (OSError, HTTPException, LookupError, TypeError, ValueError):
            return False

    def _shows_metrics(self) -> bool:
        url = f"http://{self.options.metrics}/metrics"
        try:
            with _DIRECT.open(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, HTTPException):
            return False

    def _failure(self) -> str:
        """Why the server ended, or hangs."""
        code, log = self.process.returncode, list(self._held)
        if code == _NOT_LOADED:
            assert isinstance(self.process.args, list)
            program = self.process.args[0]
            return _broken(program, last_word(log).removeprefix(f"{program}: "))
        if known := cause(log, self.options):
            return known
        if code is not None and code < 0:
            hint = ": memory may have run out, which the system's log tells" if -code == signal.SIGKILL else ""
            return f"the server was ended by signal {-code} before it was ready{hint}"
        return f"{self.options.repository} cannot be served: {last_word(log)}; mend what that says"


@contextlib.contextmanager
def started(options: ServerOptions, log: Callable[[str], None]) -> Iterator[RunningServer]:
    """A server that was started, perhaps not ready yet; it is ended with the block.

    Raises:
        InputError: there is no server that runs here, no repository, or a port is taken.
    """
    options = checked(options)
    name = f"ddgan_{secrets.token_hex(8)}"
    with found_server() as server, contextlib.ExitStack() as end:
        end.callback(_free_shared_memory, name)
        end.enter_context(environment_folders_removed())
        # The python backend splits a path at blanks, and knows ASCII alone.
        plain = end.enter_context(temporary_links("ddgan-models-", {"models": options.repository})) / "models"
        process = _start(
            command_line(server, replace(options, repository=plain), name),
            {**server.whole_environment(*model_folders(options.repository)), CACHE_VARIABLE: str(options.cache_mib)},
        )
        running = RunningServer(options, plain, process, name, log)
        try:
            yield running
        finally:
            if process.poll() is None:
                # Before it is ready there is no request to wait for.
                running.stop(None if running.ready else 0)
            # Ended while it loaded, it may leave processes of its python backend.
            running.kill()
            _reap(process.pid)


def _start(command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Ctrl-C at a terminal would reach it beside what we forward.
            start_new_session=True,
            # Where we are killed, it ends too. One call into C: nothing that another thread could hold.
            preexec_fn=ended_with_parent(signal.SIGTERM),
        )
    except OSError as error:
        raise InputError(_broken(command[0], error.strerror or str(error))) from None


def _reap(group: int) -> None:
    """Waits for what is left of a killed server: process 1 of a container becomes its parent, and nobody else's."""
    with contextlib.suppress(ChildProcessError):
        # One that hangs in a driver may never end.
        for _ in range(50):
            while os.waitpid(-group, os.WNOHANG) != (0, 0):
                pass
            time.sleep(POLL_SECONDS)


def _broken(program: str, reason: str) -> str:
    return f"{program} does not run here ({reason}): mend it, or take it off PATH and get a server with {FETCH}"


def _free_shared_memory(name: str) -> None:
    """Removes what the python backend leaves in shared memory where it was ended by force."""
    for region in Path("/dev/shm").glob(f"{name}_*"):
        region.unlink(missing_ok=True)
