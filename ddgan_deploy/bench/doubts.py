"""Rows that cannot be right: a measurement that something disturbed, told as a note rather than an error."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ddgan_deploy.bench.results import Row

MARGIN = 0.02
"""Share of a time by which another may be less all the same: medians of a few runs are not more certain."""


def with_doubts(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows, with `Row.doubtful` where more images took less time than fewer did on the same engine."""
    return tuple(dataclasses.replace(row, doubtful=_doubt(row, rows)) for row in rows)


def _doubt(row: Row, rows: Sequence[Row]) -> str | None:
    smaller = [other for other in rows if _series(other) == _series(row) and other.batch < row.batch]
    slowest = max(smaller, key=lambda other: other.median_ms, default=row)
    if row.median_ms >= (1 - MARGIN) * slowest.median_ms:
        return None
    return (
        f"its {row.median_ms:.2f} ms are less than the {slowest.median_ms:.2f} ms of batch {slowest.batch}, "
        "so one of the two was disturbed: measure again, with more --runs"
    )


def _series(row: Row) -> tuple[str, str, str | None]:
    return row.engine, row.precision, row.artifact
