"""How PosteriorSample's Triton-language kernel is launched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..launch import LINEAR, CeilDiv, Grid, Launch, OpLaunches, Plan, float_bits
from ..philox_normal.launches import MOST_ELEMENTS, MOST_SAMPLES

SQUASH_CODES = {"none": 0, "tanh": 1}

_COEFFICIENTS = ("coef_x0", "coef_xt", "sigma", "squash")
_FITS = {"elements": (1, MOST_ELEMENTS), "batch": (1, MOST_SAMPLES)}


def sizes(x0_raw: Sequence[Any], coef_x0: float, coef_xt: float, sigma: float, squash: str) -> dict[str, Any]:
    """The sizes that the plans know, from x0_raw's shape [N, C, H, W] and the node's attributes."""
    batch, channels, height, width = x0_raw
    return {
        "batch": batch,
        "elements": channels * height * width,
        "coef_x0": float_bits(coef_x0),
        "coef_xt": float_bits(coef_xt),
        "sigma": float_bits(sigma),
        "squash": SQUASH_CODES[squash],
    }


def _plan(aligned: bool) -> Plan:
    block = 1024
    arguments = ("x0_raw", "x_t", "noise", "elements", *_COEFFICIENTS, "x_prev")
    grid: Grid = ((CeilDiv(("elements",), block),), ("batch",), ())
    launch = Launch("posterior_sample", arguments, {"BLOCK": block}, grid, 4)
    return Plan(LINEAR, (launch,), _FITS, ("elements",) if aligned else ())


LAUNCHES = OpLaunches(
    op="PosteriorSample",
    folder="posterior_sample",
    tensors={"x0_raw": "T", "x_t": "float32", "noise": "float32", "x_prev": "float32"},
    plans=(_plan(aligned=True), _plan(aligned=False)),
)
ALL = (LAUNCHES,)
