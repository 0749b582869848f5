"""A benchmark's worker from outside: a process of its own that does one job."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ddgan_deploy import processes
from ddgan_deploy.bench.jobs import Job
from ddgan_deploy.errors import GateError, InputError

_COMMAND = (sys.executable, "-P", "-m", "ddgan_deploy.bench.worker.main")


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
        folder.mkdir()
        environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
        # Not the user's caches: loading shall cost what it costs the first time, and leave nothing behind.
        environment |= {"TMPDIR": str(folder), "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
        environment["OMP_NUM_THREADS"] = str(job.threads)
        self._process = processes.Worker(_COMMAND, folder / "output", environment)
        try:
            self.ask("open", job)
        except BaseException:
            self._process.close(patience=0)
            raise

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process.alive

    def ask(self, method: str, *arguments: object) -> Any:
        """What a method of the worker's runner returns; see `worker`.

        Raises:
            WorkerError: it failed; the worker can be asked for other things.
            WorkerDied: the process has crashed, was killed, or does not answer in time.
        """
        try:
            return self._process.ask((method, arguments), timeout=self._timeout)
        except (InputError, GateError) as error:
            raise WorkerError(str(error)) from None
        except processes.WorkerSilent:
            raise WorkerDied(f"it does not answer in {self._timeout:g} s") from None
        except processes.WorkerEnded as ended:
            want = ", perhaps for want of memory" if ended.code == -signal.SIGKILL else ""
            raise WorkerDied(f"its process ended {ended.how}{want}{ended.last}") from None

    def close(self) -> None:
        """Ends the process and all that it started; closing it again does nothing."""
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, trace)
