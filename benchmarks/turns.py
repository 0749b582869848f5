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


def take_turns(runs: Runs, count: int, limit: float, limit_of_16_bits: float) -> dict[str, list[float]]:
    """Seconds of each run, after one of each that is not counted.

    Args:
        runs: one of them is `BASELINE`.
        count: how often each runs.
        limit: how far results may be apart, of the largest value of the baseline's.
        limit_of_16_bits: the same, of runs whose names have fp16 or bf16 in them.
    """
    first = {name: np.asarray(run()) for name, run in runs.items()}
    expected = first[BASELINE]
    for name, got in first.items():
        apart = float(np.abs(got - expected).max()) / float(np.abs(expected).max())
        if apart > (limit_of_16_bits if "fp16" in name or "bf16" in name else limit):
            raise SystemExit(f"{name} is {apart:.2g} of the range away from PyTorch")
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(count):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds
