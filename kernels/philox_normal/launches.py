"""How PhiloxNormal's Triton-language kernel is launched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..launch import LINEAR, CeilDiv, Grid, Launch, OpLaunches, Plan, word_bits

BLOCKS = 256
MOST_ELEMENTS = 2**31 - 8 * BLOCKS
"""Elements of a sample: their index, up to a program further, is int32."""
MOST_SAMPLES = 65535
"""Samples lie along a grid's y."""


def sizes(batch: Any, stream: int, shape: Sequence[int]) -> dict[str, Any]:
    """The sizes that the plans know, from the seeds' count and the node's attributes."""
    return {"batch": batch, "elements": math.prod(shape), "stream": word_bits(stream)}


def _plan(aligned: bool) -> Plan:
    grid: Grid = ((CeilDiv(("elements",), 4 * BLOCKS),), ("batch",), ())
    launch = Launch("philox_normal", ("seed", "elements", "stream", "noise"), {"BLOCKS": BLOCKS}, grid, 4)
    fits = {"elements": (1, MOST_ELEMENTS), "batch": (1, MOST_SAMPLES)}
    return Plan(LINEAR, (launch,), fits, ("elements",) if aligned else ())


LAUNCHES = OpLaunches(
    op="PhiloxNormal",
    folder="philox_normal",
    tensors={"seed": "int64", "noise": "T"},
    plans=(_plan(aligned=True), _plan(aligned=False)),
)

ALL = (LAUNCHES,)
