"""Few combinations in which every two values of different factors meet (Cohen et al. 1997, AETG)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def covering(factors: Mapping[str, Sequence[Any]], possible: Callable[[Row], bool] = lambda row: True) -> list[Row]:
    """Rows of one value a factor; the same ones every time.

    Args:
        factors: name -> values.
        possible: whether a row may be, also of a part of one.
    """
    places = [(name, i) for name, values in factors.items() for i in range(len(values))]
    uncovered = {
        (a, b): None for a, b in itertools.combinations(places, 2) if a[0] != b[0] and possible(_row(factors, (a, b)))
    }
    rows = []
    while uncovered:
        chosen = dict(next(iter(uncovered)))
        for name, values in factors.items():
            if name not in chosen:
                free = [i for i in range(len(values)) if possible(_row(factors, {**chosen, name: i}.items()))]
                chosen[name] = max(free, key=lambda i: sum(_met(uncovered, (name, i), chosen)))
        whole = [(name, chosen[name]) for name in factors]
        for pair in itertools.combinations(whole, 2):
            uncovered.pop(pair, None)
        rows.append(_row(factors, whole))
    return rows


def _row(factors, places) -> Row:
    return {name: factors[name][i] for name, i in places}


def _met(uncovered, place, chosen):
    """For each value that is chosen, whether it has not met that of the place."""
    return ((place, other) in uncovered or (other, place) in uncovered for other in chosen.items())
