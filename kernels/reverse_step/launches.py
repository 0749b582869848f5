"""How the Triton-language kernels of ReverseStep and ReverseMean are launched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..launch import LINEAR, CeilDiv, Grid, Launch, OpLaunches, Plan
from ..philox_normal.launches import MOST_ELEMENTS, MOST_SAMPLES

_BLOCK = 1024
_FITS = {"elements": (1, MOST_ELEMENTS), "batch": (1, MOST_SAMPLES)}


def sizes(out: Sequence[Any]) -> dict[str, Any]:
    """The sizes that the plans know, from out's shape [N, C, H, W]."""
    batch, channels, height, width = out
    return {"batch": batch, "elements": channels * height * width}


def _plan(kernel: str, inputs: tuple[str, ...], aligned: bool) -> Plan:
    grid: Grid = ((CeilDiv(("elements",), _BLOCK),), ("batch",), ())
    launch = Launch(kernel, (*inputs, "elements", "x_prev"), {"BLOCK": _BLOCK}, grid, 4)
    return Plan(LINEAR, (launch,), _FITS, ("elements",) if aligned else ())


def _launches(op: str, kernel: str, inputs: tuple[str, ...]) -> OpLaunches:
    return OpLaunches(
        op=op,
        folder="reverse_step",
        tensors={"out": "T", **dict.fromkeys((*inputs[1:], "x_prev"), "float32")},
        plans=tuple(_plan(kernel, inputs, aligned) for aligned in (True, False)),
    )


STEP = _launches("ReverseStep", "reverse_step", ("out", "x", "noise", "coefficients"))
MEAN = _launches("ReverseMean", "reverse_mean", ("out", "x", "coefficients"))
ALL = (STEP, MEAN)
