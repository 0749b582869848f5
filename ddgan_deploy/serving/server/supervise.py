"""Keep a server running: end it at a signal, and start it anew where it crashed or can no longer be trusted.

Triton Inference Server 2.51 goes on without a process of its python backend: it says that it is ready, fails every
request, and does not answer the one that was under way. Where such a process stands still for a second, the server
crashes, or hands its late answer to the next request (`heartbeat`). So the server is killed before.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType

from ddgan_deploy.errors import InputError
from ddgan_deploy.serving.server.launch import RunningServer, started
from ddgan_deploy.serving.server.loading import StandsStill
from ddgan_deploy.serving.server.options import ServerOptions
from ddgan_deploy.serving.server.python_processes import PythonProcesses

MOST_STARTS = 20
"""New starts within `STARTS_SECONDS`, at most."""
STARTS_SECONDS = 300
MOST_VAIN_STARTS = 5
"""New starts in a row that did not lead to a server that was ready, at most."""
_POLL_SECONDS = 0.1
"""With the polls that a stall takes to be seen, well below the second after which the server goes wrong."""
_LAST_ANSWERS = 2.0
"""Seconds for what other processes are still computing when one has died."""
_SAYS_WHY_POLLS = 50
"""Polls that a server gets to say itself why a process has died while it loads; of some it never hears."""
_PROCESSES_END = ("--model-control-mode", "--disable-auto-complete-config", "--strict-model-config")
"""What lets processes of the python backend end without a fault."""
_ASKED_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GAVE_UP = "is not healthy"
"""What the server says of a process that stood still, or died, while it loaded."""


class Supervisor:
    """Runs a server until it ends by itself or is told to.

    Args:
        options: what to serve, and where.
        log: takes a line.
        ready: told once where the server listens.
    """

    def __init__(
        self, options: ServerOptions, log: Callable[[str], None], ready: Callable[[ServerOptions], None]
    ) -> None:
        self._options = options
        self._log = log
        self._ready = ready
        self._server: RunningServer | None = None
        self._asked_at: float | None = None
        self._told = False
        self._starts: deque[float] = deque(maxlen=MOST_STARTS)
        self._vain = 0
        self._reason = ""

    def run(self) -> int:
        """The exit code of the server, of a shell's kind where a signal ended it; 0 where it crashed once told to end.

        Raises:
            InputError: the server cannot be started.
        """
        while True:
            self._reason = ""
            with started(self._options, self._log) as self._server, self._watched(self._server):
                code = self._run_once(self._server)
            if self._ending and crashed(code):
                # Its end was asked for, so whoever asked should see no failure.
                crash = f"the server crashed while it ended (signal {code - 128}), as release 2.51 does under load"
                self._log(f"{self._reason or crash}\n")
                return 0
            if crashed(code):
                self._reason = self._reason or f"the server was ended by signal {code - 128}"
            if self._ending or not self._reason:
                return code
            if limit := self._limit():
                self._log(f"{self._reason}, {limit}: it is not started again\n")
                return code or 1
            self._log(f"{self._reason}: the server is started anew\n")

    def forward(self, number: int, frame: FrameType | None = None) -> None:
        """A signal handler: tells the server to end."""
        self._asked_at = self._asked_at or time.monotonic()
        if self._server is not None:
            # Not SIGINT, which it does not hear for a moment while it starts.
            self._server.process.terminate()

    @property
    def _ending(self) -> bool:
        """Whether it was told to end."""
        return self._asked_at is not None

    def _run_once(self, server: RunningServer) -> int:
        """The server's exit code."""
        if self._ending:
            # A signal came before there was a server to pass it on to.
            server.process.terminate()
        try:
            server.wait_ready()
        except InputError as error:
            if self._ending:
                # Nothing was under way, so this end is as good as any, though a server that loads may not have heard.
                return 0
            hung = server.process.poll() is None
            server.kill()
            code = server.wait()
            if isinstance(error, StandsStill):
                self._reason = "the server stood still while it loaded"
            # What crashes at the first start may be wrong; later on it was right before.
            if self._told and (hung or crashed(code) or server.said(_GAVE_UP)):
                self._reason = self._reason or "the server did not get ready"
            if not self._reason:
                raise
            self._vain += 1
            return code
        self._vain = 0
        # Started anew, it listens on the same ports.
        self._options = server.options
        if not self._told:
            self._ready(server.options)
            self._told = True
        return server.wait()

    def _limit(self) -> str:
        """Which limit a new start would break; "" where none, and then it counts."""
        now = time.monotonic()
        if self._vain > MOST_VAIN_STARTS:
            return f"and {MOST_VAIN_STARTS} new starts in a row came to nothing"
        if len(self._starts) == MOST_STARTS and now - self._starts[0] < STARTS_SECONDS:
            return f"after {MOST_STARTS} new starts within {STARTS_SECONDS} s"
        self._starts.append(now)
        return ""

    @contextlib.contextmanager
    def _watched(self, server: RunningServer) -> Iterator[None]:
        """Watches a server while the block runs, on a thread that nothing holds up."""
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(server, over), name="watch")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _watch(self, server: RunningServer, over: threading.Event) -> None:
        """Ends the server where a process of its python backend died or stands still, or it does not end though it was
        told to; that is the reason then.
        """
        # They also end where models come and go, or where the server asks them what a configuration leaves out.
        fixed = not any(option.startswith(_PROCESSES_END) for option in server.options.extra)
        processes = PythonProcesses(server.process.pid)
        unnoticed = _SAYS_WHY_POLLS
        while not over.wait(_POLL_SECONDS):
            dead, stalled = processes.poll(settled=server.ready and fixed and not self._ending)
            if stalled:
                self._reason = f"process {stalled[0]} of the python backend stands still"
                server.kill()
                return
            if self._asked_at is not None and time.monotonic() > self._asked_at + server.patience:
                self._reason = (
                    f"the server did not end within {server.patience:g} s: it was killed, and did not answer all"
                )
                server.kill()
                return
            # They follow a server that has ended.
            if dead and fixed and not self._ending and server.process.poll() is None:
                unnoticed -= 1
                if server.ready or not unnoticed:
                    self._reason = f"process {dead[0]} of the python backend has died"
                    server.stop(_LAST_ANSWERS)
                    return


def crashed(code: int) -> bool:
    """Whether an exit code of a shell's kind tells of a signal that does not ask a program to end."""
    return code - 128 in signal.valid_signals() and code - 128 not in _ASKED_TO_END
