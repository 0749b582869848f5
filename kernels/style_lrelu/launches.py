"""How StyleLrelu's Triton-language kernel is launched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..launch import NCHW, NHWC, CeilDiv, Grid, Launch, OpLaunches, Plan, float_bits
from ..philox_normal.launches import MOST_ELEMENTS, MOST_SAMPLES

_BLOCK = 1024
_INPUTS = ("x", "scale", "noise", "bias", "limit")
_SIZES = ("elements", "channels", "pixels", "noise_rows", "noise_pixels", "alpha")
_FITS = {"elements": (1, MOST_ELEMENTS), "batch": (1, MOST_SAMPLES)}


def sizes(x: Sequence[Any], noise: Sequence[Any], alpha: float) -> dict[str, Any]:
    """The sizes that the plans know, from the shapes of x [N, C, H, W] and noise, and the node's attribute."""
    batch, channels, height, width = x
    return {
        "batch": batch,
        "elements": channels * height * width,
        "channels": channels,
        "pixels": height * width,
        "noise_rows": noise[0],
        "noise_pixels": noise[2] * noise[3],
        "alpha": float_bits(alpha),
    }


def _plan(layout: str, aligned: bool) -> Plan:
    grid: Grid = ((CeilDiv(("elements",), _BLOCK),), ("batch",), ())
    constexprs = {"CHANNELS_LAST": int(layout == NHWC), "BLOCK": _BLOCK}
    launch = Launch("style_lrelu", (*_INPUTS, *_SIZES, "y"), constexprs, grid, 4)
    return Plan(layout, (launch,), _FITS, ("elements",) if aligned else ())


LAUNCHES = OpLaunches(
    op="StyleLrelu",
    folder="style_lrelu",
    tensors={"x": "T", **dict.fromkeys(_INPUTS[1:], "float32"), "y": "T"},
    plans=tuple(_plan(layout, aligned) for layout in (NCHW, NHWC) for aligned in (True, False)),
)
ALL = (LAUNCHES,)
