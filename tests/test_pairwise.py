"""Every two values of different factors meet, but for those that cannot."""

from __future__ import annotations

import itertools

from tests.pairwise import covering

FACTORS = {"a": [0, 1, 2], "b": ["x", "y"], "c": [True, False], "d": [{"e": 1}, {"e": 2}, {}]}


def met(rows, first, second):
    return {(str(row[first]), str(row[second])) for row in rows}


def test_all_pairs_meet_in_few_rows():
    rows = covering(FACTORS)
    for first, second in itertools.combinations(FACTORS, 2):
        assert len(met(rows, first, second)) == len(FACTORS[first]) * len(FACTORS[second])
    assert len(rows) <= 12


def test_what_cannot_be_is_in_no_row():
    rows = covering(FACTORS, lambda row: not (row.get("a") == 2 and row.get("b") == "y"))
    assert met(rows, "a", "b") == {("0", "x"), ("1", "x"), ("2", "x"), ("0", "y"), ("1", "y")}
