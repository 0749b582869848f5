"""Engines side by side in one run, and how near each comes to what the machine allows.

    from ddgan_deploy.bench import BenchOptions, run
    result = run(BenchOptions(artifacts=(Path("digits"),), batches=(1, 4)))

Every engine lives in a process of its own; they are measured in turn, round by round, so that whatever slows the
machine for a while slows all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddgan_deploy.bench.options import BenchOptions

if TYPE_CHECKING:
    from ddgan_deploy.bench.measure import run
    from ddgan_deploy.bench.results import BenchResult

__all__ = ["BenchOptions", "BenchResult", "run"]


def __getattr__(name: str) -> object:
    # At first use: the command's --help needs neither.
    if name == "run":
        from ddgan_deploy.bench.measure import run

        return run
    if name == "BenchResult":
        from ddgan_deploy.bench.results import BenchResult

        return BenchResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
