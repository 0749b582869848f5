"""The stops of an export, timed and told of."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

Report = Callable[[float, str], None]
"""Told how far a stop is: the share that is done, 0..1, and what is being done."""
Progress = Callable[[str], contextlib.AbstractContextManager[Report]]
"""Wraps a stop: called with its name, entered when it begins, left when it ends."""


def silent(share: float, what: str) -> None:
    """A `Report` that nobody reads."""


def no_progress(name: str) -> contextlib.AbstractContextManager[Report]:
    """A `Progress` that nobody sees."""
    return contextlib.nullcontext(silent)


class Clock:
    """Times the stops and tells the user's progress of them.

    Attributes:
        timings: (stop, seconds), in order.
    """

    def __init__(self, progress: Progress = no_progress) -> None:
        self.progress = progress
        self.timings: list[tuple[str, float]] = []

    @contextlib.contextmanager
    def stop(self, name: str) -> Iterator[Report]:
        """One stop."""
        start = time.perf_counter()
        with self.progress(name) as report:
            yield report
        self.timings.append((name, time.perf_counter() - start))
