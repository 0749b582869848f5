"""Processes of ours: how they end, and workers, which answer on a channel and cannot take others along."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.progress import Report, silent

_PR_SET_PDEATHSIG = 1
_PATIENCE = 5.0
"""Seconds that a worker has to end by itself."""


def ended_with_parent(number: int) -> Callable[[], object]:
    """What a process calls to get a signal when its parent ends, however that ends; on Linux alone it does something.

    It is one call into C, so that it can be called between fork and exec.

    Args:
        number: of the signal.
    """
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, number)


class WorkerEnded(RuntimeError):
    """A worker ended in place of an answer; the message says how, and the last line that it wrote.

    Attributes:
        code: that it ended with, negative where it was a signal.
        how: such as "by SIGSEGV" or "with exit code 3".
        last: ": " and the last line that it wrote, cut to 200 characters; empty where it wrote none.
    """

    def __init__(self, code: int, output: Path) -> None:
        self.code = code
        self.how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        lines = output.read_text(encoding="utf-8", errors="replace").split("\n")
        self.last = next((f": {line.strip()[:200]}" for line in reversed(lines) if line.strip()), "")
        super().__init__(f"it ended {self.how}{self.last}")


class WorkerSilent(RuntimeError):
    """A worker gave no word for too long, and has been ended."""


class Worker:
    """A child process that answers by `serve`; as a context manager it ends with the block, and it ends with us.

    It runs in a group of its own: Ctrl-C is for the process that waits for it, which then ends the whole group.

    Args:
        command: starts it; it gets the number of its end of the channel as the last argument.
        output: file for what it and its libraries write to the screen.
        environment: of the process; None: ours.
    """

    def __init__(self, command: tuple[str, ...], output: Path, environment: Mapping[str, str] | None = None) -> None:
        self._output = output
        self._channel, theirs = Pipe()
        with theirs, output.open("wb") as file:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return not self._channel.closed

    def ask(self, request: object, report: Report = silent, timeout: float | None = None) -> Any:
        """Hands over a request; returns the answer.

        Args:
            request: anything that can be pickled.
            report: told of the worker's progress.
            timeout: seconds without a word from it that are too long; None: none are.

        Raises:
            InputError, GateError, OSError: the worker's own; it can be asked for other things.
            WorkerSilent: it was, for too long.
            WorkerEnded: it has crashed or was killed.
        """
        self._speak(lambda: self._channel.send(request))
        while True:
            if not self._speak(lambda: self._channel.poll(timeout)):
                self.close(patience=0)
                raise WorkerSilent
            kind, message = self._speak(self._channel.recv)
            if kind == "error":
                raise message
            if kind == "answer":
                return message
            report(*message)

    def close(self, patience: float = _PATIENCE) -> int:
        """Ends the process and all that it started; closing it again does nothing.

        Args:
            patience: seconds that it has to end by itself.

        Returns:
            its exit code, negative where it was a signal.
        """
        if self.alive:
            # A worker ends when nobody holds the other side of its channel.
            self._channel.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
            # What it started may outlive it, and is in its group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(_PATIENCE if kind is None else 0)

    def _speak(self, call: Callable[[], Any]) -> Any:
        """Uses the channel."""
        try:
            return call()
        except (EOFError, ConnectionError):
            raise WorkerEnded(self.close(), self._output) from None


def serve(answer: Callable[[Any, Report], Any]) -> None:
    """Answers in a worker's process until nobody asks any more.

    Args:
        answer: gives the answer to a request, and may report its progress; what it raises of InputError, GateError
            and OSError is told, all else ends the process.
    """
    # Ctrl-C reaches all processes of a terminal; the one that waits for this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Where that one is killed, this one ends too.
    ended_with_parent(signal.SIGKILL)()
    with Connection(int(sys.argv[-1])) as channel:
        while True:
            try:
                request = channel.recv()
            except EOFError:
                return
            try:
                message = "answer", answer(request, lambda share, what: channel.send(("progress", (share, what))))
            except (InputError, GateError, OSError) as error:
                message = "error", error
            channel.send(message)
