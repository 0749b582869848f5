"""A worker from inside: it opens what its job names, and answers until nobody asks any more."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol

from ddgan_deploy.bench.jobs import Job, PerOpJob, RateJob
from ddgan_deploy.errors import InputError
from ddgan_deploy.processes import ended_with_parent

_METHODS = ("opened", "prepare", "measure", "memory")


class Runner(Protocol):
    """What a worker does."""

    def measure(self) -> Any:
        """One measurement."""
        ...


def open_job(job: Job) -> Runner:
    """What does a job; imports what that one needs alone.

    Raises:
        InputError: it cannot be done here.
    """
    if isinstance(job, RateJob):
        from ddgan_deploy.bench.worker.rates import RateRunner

        return RateRunner(job)
    if isinstance(job, PerOpJob):
        from ddgan_deploy.bench.worker.op_times import OpRunner

        return OpRunner(job)
    from ddgan_deploy.bench.worker.sampling import SampleRunner

    return SampleRunner(job)


def main(argv: Sequence[str]) -> None:
    """Serves the channel whose file descriptor is the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Where the process that asks is killed, this one ends too.
    ended_with_parent(signal.SIGKILL)()
    runner: Runner | None = None
    with Connection(int(argv[0])) as channel:
        while True:
            try:
                method, arguments = channel.recv()
            except EOFError:
                return
            try:
                if method == "open":
                    runner, answer = open_job(*arguments), None
                else:
                    assert runner is not None and method in _METHODS
                    answer = getattr(runner, method)(*arguments)
            except InputError as error:
                channel.send((False, str(error)))
            except Exception as error:  # runtimes' own errors share no base class, and one costs its row alone
                channel.send((False, _one_line(error)))
            else:
                channel.send((True, answer))


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


if __name__ == "__main__":
    main(sys.argv[1:])
