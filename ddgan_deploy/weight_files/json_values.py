"""Values out of a JSON file or a checkpoint -> the types that arguments have; None for anything else."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable


def integer(value: object, least: int = 1 - 2**63, below: int = 2**63) -> int | None:
    """A whole number from ``least`` on and under ``below``; no truth value."""
    right = isinstance(value, int) and not isinstance(value, bool) and least <= value < below
    return value if right else None  # type: ignore[return-value]


def number(value: object) -> float | None:
    """A finite number; no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Also false for NaN, and for integers that no float can hold.
    return float(value) if abs(value) <= sys.float_info.max else None


def flag(value: object) -> bool | None:
    """A truth value, or 0 or 1 for one."""
    return bool(value) if isinstance(value, int) and value in (0, 1) else None


def meant(name: str, known: Iterable[str]) -> str | None:
    """The argument that an unknown name is most like, however it is written; None where it is like none."""
    plain = name.strip().lower().lstrip("-").replace("-", "_")
    return next(iter(difflib.get_close_matches(plain, sorted(known), n=1)), None)
