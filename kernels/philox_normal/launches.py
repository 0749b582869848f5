"""How the Triton-language kernels of the Philox ops are launched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..launch import LINEAR, CeilDiv, Grid, Launch, OpLaunches, Plan, word_bits

BLOCKS = 256
MOST_ELEMENTS = 2**31 - 8 * BLOCKS
"""Elements of a sample: their index, up to a program further, is int32."""
MOST_SAMPLES = 65535
"""Samples lie along a grid's y."""


def sizes(batch: Any, shape: Sequence[int], **numbers: int) -> dict[str, Any]:
    """The sizes that the plans know, from the seeds' count and the node's shape, stream and below."""
    return {
        "batch": batch,
        "elements": math.prod(shape),
        **{name: word_bits(number) for name, number in numbers.items()},
    }


def _plan(kernel: str, arguments: tuple[str, ...], aligned: bool) -> Plan:
    grid: Grid = ((CeilDiv(("elements",), 4 * BLOCKS),), ("batch",), ())
    launch = Launch(kernel, arguments, {"BLOCKS": BLOCKS}, grid, 4)
    fits = {"elements": (1, MOST_ELEMENTS), "batch": (1, MOST_SAMPLES)}
    return Plan(LINEAR, (launch,), fits, ("elements",) if aligned else ())


def _launches(op: str, kernel: str, arguments: tuple[str, ...], tensors: Mapping[str, str]) -> OpLaunches:
    plans = tuple(_plan(kernel, arguments, aligned) for aligned in (True, False))
    return OpLaunches(op=op, folder="philox_normal", tensors=tensors, plans=plans)


LAUNCHES = _launches(
    "PhiloxNormal", "philox_normal", ("seed", "elements", "stream", "noise"), {"seed": "int64", "noise": "T"}
)
NORMAL_AT = _launches(
    "PhiloxNormalAt",
    "philox_normal_at",
    ("seed", "stream", "elements", "noise"),
    {"seed": "int64", "stream": "int64", "noise": "T"},
)
INTEGER = _launches(
    "PhiloxInteger",
    "philox_integer",
    ("seed", "elements", "stream", "below", "values"),
    {"seed": "int64", "values": "int64"},
)
ALL = (LAUNCHES, NORMAL_AT, INTEGER)
