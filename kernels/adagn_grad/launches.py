"""How the Triton-language kernels of AdaGN's gradient are launched: AdaGN's tiles, chunks and statistics serve it."""

from __future__ import annotations

from dataclasses import replace

from ..adagn import launches as adagn
from ..launch import NCHW, NHWC, CeilDiv, Extent, Grid, Launch, OpLaunches, Plan

_SIZES = ("channels", "pixels", "groups")
_CHUNKS = ("chunk_pixels", "chunks")
_STYLE = ("style_rows", "epsilon", "activation")
_FUSED = ("dy", "x", "scale", "shift", *_SIZES, *_STYLE, "dx")
_SUMS = ("dy", "x", "partials", "scale", "shift", *_SIZES, *_CHUNKS, *_STYLE, "sums")
_APPLY = ("dy", "x", "partials", "sums", "scale", "shift", *_SIZES, *_CHUNKS, *_STYLE, "dx")
_LANES = 32
"""Channels side by side that a channels-last tile has: 64 bytes in the narrowest type."""
_EXACT = (4, 8, 16)
"""Channels a group, of which a tile has whole groups."""

sizes = adagn.sizes
"""The sizes that the plans know are AdaGN's."""


def _fused_nchw(channels: int, pixels: int) -> Plan:
    # 16 elements a thread of each of dy and x.
    grid: Grid = (("batch", "groups"), (), ())
    tile = {"CHANNELS": channels, "PIXELS": pixels}
    launch = Launch("adagn_grad_fused_nchw", _FUSED, tile, grid, channels * pixels // 512)
    return Plan(NCHW, (launch,), {"group_channels": (1, channels), "pixels": (1, pixels)}, ("pixels",))


def _fused_nhwc(channels: int, pixels: int) -> Plan:
    grid: Grid = (("batch", CeilDiv(("channels",), _LANES)), (), ())
    launch = Launch("adagn_grad_fused_nhwc", _FUSED, {"LANES": _LANES, "PIXELS": pixels}, grid, _LANES * pixels // 512)
    return Plan(NHWC, (launch,), {"group_channels": (channels, channels), "pixels": (1, pixels)}, ("channels",))


def _split(plan: Plan) -> Plan:
    """AdaGN's way of two launches with its first, partial sums, and what applies both."""
    stats, apply = plan.launches
    if plan.layout == NCHW:
        sums = replace(stats, constexprs={"CHANNELS": 4, "PIXELS": 256}, warps=4)
    else:
        blocks: Extent = (CeilDiv(("channels",), _LANES),) if plan.aligned else ("groups",)
        tile = {"LANES": _LANES, "EXACT": int(plan.aligned), "PIXELS": 128}
        sums = apply = replace(stats, constexprs=tile, grid=(("batch", *blocks), ("chunks",), ()))
    sums = replace(sums, kernel=f"adagn_grad_sums_{plan.layout}", arguments=_SUMS)
    apply = replace(apply, kernel=f"adagn_grad_apply_{plan.layout}", arguments=_APPLY)
    temporaries = {**plan.temporaries, "sums": plan.temporaries["partials"]}
    return replace(plan, launches=(stats, sums, apply), temporaries=temporaries)


LAUNCHES = OpLaunches(
    op="AdaGNGrad",
    folder="adagn_grad",
    tensors={
        "dy": "T", "x": "T", "scale": "T", "shift": "T", "partials": "float32", "sums": "float32", "dx": "T",
    },
    plans=(
        _fused_nchw(8, 1024),
        _fused_nchw(32, 256),
        *(_fused_nhwc(channels, 256) for channels in _EXACT),
        *(_split(plan) for plan in adagn.SPLIT.plans),
    ),
)  # fmt: skip
ALL = (LAUNCHES,)
"""AdaGNSiluGrad runs the same kernels: the activation is an argument of theirs."""

SINGLE, SPLIT = (
    replace(LAUNCHES, plans=tuple(plan for plan in LAUNCHES.plans if len(plan.launches) == count)) for count in (1, 3)
)
"""The plans of one launch, and those of three, for runtimes that give each launch a node of its own."""


def single_launch(layout: str, channels: int, pixels: int, groups: int) -> bool:
    """Whether one launch runs the op on x of that layout, at aligned addresses; else it takes stats, sums and apply."""
    measured = sizes((1, channels, pixels, 1), 1, groups, 0.0, "none")
    return any(plan.serves(layout, measured, aligned=True) for plan in SINGLE.plans)
