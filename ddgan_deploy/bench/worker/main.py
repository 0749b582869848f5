"""A worker from inside: it opens what its job names, and answers until nobody asks any more."""

from __future__ import annotations

from typing import Any, Protocol

from ddgan_deploy.bench.jobs import Job, PerOpJob, RateJob
from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.processes import serve
from ddgan_deploy.progress import Report

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


class Answers:
    """Answers requests, which are a method of a runner and its arguments; "open" and a job comes first.

    Raises:
        InputError: it cannot be done here.
        GateError: it failed.
    """

    _runner: Runner | None = None

    def __call__(self, request: tuple[str, tuple[Any, ...]], report: Report) -> Any:
        method, arguments = request
        try:
            if method == "open":
                self._runner = open_job(*arguments)
                return None
            assert self._runner is not None and method in _METHODS
            return getattr(self._runner, method)(*arguments)
        except InputError:
            raise
        except Exception as error:  # runtimes' own errors share no base class, and one costs its row alone
            raise GateError(_one_line(error)) from None


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


if __name__ == "__main__":
    serve(Answers())
