"""Seeds of which there may be more than a list should hold."""

from __future__ import annotations

import bisect
import itertools

from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import parse_ranges

MAX_IMAGES = 10**9
"""In one run."""


class Seeds:
    """The seeds of a run, in order.

    Args:
        text: such as "0-49999" or "3,7,20-23".

    Raises:
        InputError: the text is no such list, or lists over `MAX_IMAGES`.
    """

    def __init__(self, text: str) -> None:
        self._ranges = parse_ranges(text)
        self._ends = list(itertools.accumulate(part.stop - part.start for part in self._ranges))
        if self._ends[-1] > MAX_IMAGES:
            raise InputError(f"the seeds are over {MAX_IMAGES:,}: draw them in several runs")

    def __len__(self) -> int:
        return self._ends[-1]

    def at(self, places: range) -> list[int]:
        """The seeds at some places, which follow one another.

        Args:
            places: of 0..N-1, in steps of one.
        """
        found: list[int] = []
        part = bisect.bisect_right(self._ends, places.start)
        while len(found) < len(places):
            skipped = places.start + len(found) - (self._ends[part] - len(self._ranges[part]))
            found += self._ranges[part][skipped : skipped + len(places) - len(found)]
            part += 1
        return found
