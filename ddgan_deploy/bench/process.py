"""A worker from outside: a process of its own that does one job, and that cannot take others along."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ddgan_deploy.bench.jobs import Job

_COMMAND = (sys.executable, "-P", "-m", "ddgan_deploy.bench.worker.main")
_PATIENCE = 5.0
"""Seconds that a worker has to end by itself."""


class WorkerError(RuntimeError):
    """A worker could not do what it was asked; the message says why, on one line."""


class WorkerDied(WorkerError):
    """There is no worker any more."""


class Worker:
    """A process that does one job; as a context manager it ends with the block.

    Args:
        job: what it is for.
        folder: temporary; holds what the process writes to the screen or keeps in files.
        timeout: seconds that it may take for an answer.

    Raises:
        WorkerError: it cannot do that here; the process has ended.
    """

    def __init__(self, job: Job, folder: Path, timeout: float) -> None:
        self._timeout = timeout
        self._output = folder / "output"
        folder.mkdir()
        environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
        # Not the user's caches: loading shall cost what it costs the first time, and leave nothing behind.
        environment |= {"TMPDIR": str(folder), "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
        environment["OMP_NUM_THREADS"] = str(job.threads)
        self._channel, theirs = Pipe()
        with theirs, self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*_COMMAND, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                pass_fds=[theirs.fileno()],
                # Ctrl-C is for the process that waits for this one, which then ends the whole group.
                start_new_session=True,
            )
        try:
            self.ask("open", job)
        except BaseException:
            self._end(patience=0)
            raise

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return not self._channel.closed

    def ask(self, method: str, *arguments: object) -> Any:
        """What a method of the worker's runner returns; see `worker`.

        Raises:
            WorkerError: it failed; the worker can be asked for other things.
            WorkerDied: the process has crashed, was killed, or does not answer in time.
        """
        try:
            self._channel.send((method, arguments))
            if not self._channel.poll(self._timeout):
                self._end(patience=0)
                raise WorkerDied(f"it does not answer in {self._timeout:g} s")
            done, answer = self._channel.recv()
        except (EOFError, ConnectionError):
            raise WorkerDied(self._end(patience=_PATIENCE)) from None
        if not done:
            raise WorkerError(answer)
        return answer

    def close(self) -> None:
        """Ends the process and all that it started; closing it again does nothing."""
        if self.alive:
            self._end(patience=_PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.alive:
            self._end(patience=_PATIENCE if kind is None else 0)

    def _end(self, patience: float) -> str:
        """Ends the process; returns how it ended, in words."""
        # A worker ends when nobody holds the other side of its channel.
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        # What it started may outlive it, and is in its group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        if code == -signal.SIGKILL:
            how += ", perhaps for want of memory"
        lines = self._output.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((f": {line.strip()[:200]}" for line in reversed(lines) if line.strip()), "")
        return f"its process ended {how}{last}"
