"""Runs that take turns, so that they meet the same machine, and must agree before they are timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Runs = Mapping[str, Callable[[], Any]]
"""Name -> one run, which gives an array."""
BASELINE = "pytorch-eager, as published"
"""The name of the run that the others are compared with."""


def take_turns(runs: Runs, count: int, limit: float, fp16_limit: float) -> dict[str, list[float]]:
    """Seconds of each run, after one of each that is not counted.

    Args:
        runs: one of them is `BASELINE`.
        count: how often each runs.
        limit: how far results may be apart, of the largest value of the baseline's.
        fp16_limit: the same, of runs whose names end so.
    """
    first = {name: np.asarray(run()) for name, run in runs.items()}
    expected = first[BASELINE]
    for name, got in first.items():
        apart = float(np.abs(got - expected).max()) / float(np.abs(expected).max())
        if apart > (fp16_limit if name.endswith("fp16") else limit):
            raise SystemExit(f"{name} is {apart:.2g} of the range away from PyTorch")
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(count):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds
