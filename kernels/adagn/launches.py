"""How AdaGN's Triton-language kernels are launched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..launch import NCHW, NHWC, CeilDiv, Extent, Grid, Launch, OpLaunches, Plan, evaluate, float_bits

ACTIVATION_CODES = {"none": 0, "silu": 1}

_ONE: Extent = ()
_FUSED = ("x", "scale", "shift", "channels", "pixels", "groups", "style_rows", "epsilon", "activation", "y")
_STATS = ("x", "channels", "pixels", "groups", "chunks", "partials")
_STATS_NHWC = (*_STATS[:4], "chunk_pixels", *_STATS[4:])
_APPLY = ("x", "partials", *_FUSED[1:6], "chunk_pixels", "chunks", *_FUSED[6:])
_PARTIALS: tuple[Extent, ...] = (("batch",), ("groups",), ("chunks",), (2,))
_CHUNKS = ((256, 64), (1024, 65535))
"""(pixels, most chunks): short chunks fill the chip at batch 1, long ones keep few partial statistics to merge.

A group's chunks lie along a grid's y.
"""
_MOST_ELEMENTS = 2**28
"""Elements of a group: counts of them are int32."""
_MOST_GROUP_CHANNELS = 2**14
"""Elements of all chunks merged at a time stay below 2**31."""


def sizes(x: Sequence[Any], style_rows: Any, groups: int, epsilon: float, activation: str) -> dict[str, Any]:
    """The sizes that the plans know, from x's shape [N, C, H, W] and the node's attributes."""
    batch, channels, height, width = x
    return {
        "batch": batch,
        "channels": channels,
        "pixels": height * width,
        "groups": groups,
        "group_channels": channels // groups,
        "group_elements": channels // groups * (height * width),
        "style_rows": style_rows,
        "epsilon": float_bits(epsilon),
        "activation": ACTIVATION_CODES[activation],
    }


def _fused_nchw(channels: int, pixels: int, aligned: bool) -> Plan:
    # 32 elements a thread: enough loads in flight, far from the 255 registers a thread may have.
    warps = min(max(channels * pixels // 1024, 1), 16)
    constexprs = {"CHANNELS": channels, "PIXELS": pixels}
    launch = Launch("adagn_fused_nchw", _FUSED, constexprs, (("batch", "groups"), _ONE, _ONE), warps)
    fits = {"group_channels": (1, channels), "pixels": (1, pixels)}
    return Plan(NCHW, (launch,), fits, ("pixels",) if aligned else ())


def _split(
    layout: str,
    launches: tuple[Launch, Launch],
    chunk: tuple[int, int],
    group_channels: tuple[int, int],
    multiples: tuple[str, ...],
) -> Plan:
    """Partial statistics of chunks, which mean the same in both layouts, and what applies them.

    Args:
        chunk: one of `_CHUNKS`.
        group_channels: least and most that the launches serve.
        multiples: as of `Plan`.
    """
    chunk_pixels, most_chunks = chunk
    return Plan(
        layout,
        launches,
        {
            "group_channels": group_channels,
            "group_elements": (1, _MOST_ELEMENTS),
            "pixels": (1, chunk_pixels * most_chunks),
        },
        multiples,
        derived={"chunk_pixels": (chunk_pixels,), "chunks": (CeilDiv(("pixels",), chunk_pixels),)},
        temporaries={"partials": _PARTIALS},
    )


def _split_nchw(chunk: tuple[int, int], aligned: bool) -> Plan:
    # Few groups have less than four channels; more are gone over in turns.
    tile = {"CHANNELS": 4, "PIXELS": chunk[0]}
    grid: Grid = (("batch", "groups"), ("chunks",), _ONE)
    stats = Launch("adagn_stats_nchw", _STATS, tile, grid, 4 * chunk[0] // 512)
    pixels = 4096
    grid = (("batch", "channels"), (CeilDiv(("pixels",), pixels),), _ONE)
    apply = Launch("adagn_apply_nchw", _APPLY, {"PIXELS": pixels}, grid, 8)
    return _split(NCHW, (stats, apply), chunk, (1, _MOST_GROUP_CHANNELS), ("pixels",) if aligned else ())


def _lanes(channels: int, exact: bool) -> tuple[dict[str, int], tuple[int, int]]:
    """Compile-time constants of a channels-last tile for up to ``channels`` a group, and which groups it fits.

    An exact tile is 32 lanes wide, 64 bytes in the narrowest type; the others round a
    group's channels up to a power of two, so they take 64 for as many bytes.
    """
    groups = max((32 if exact else 64) // channels, 1)
    constexprs = {"GROUPS": groups, "CHANNELS": channels, "EXACT": int(exact)}
    return constexprs, (channels, channels) if exact else (1, channels)


def _fused_nhwc(channels: int, pixels: int, exact: bool) -> Plan:
    constexprs, fits = _lanes(channels, exact)
    grid: Grid = (("batch", CeilDiv(("groups",), constexprs["GROUPS"])), _ONE, _ONE)
    lanes = constexprs["GROUPS"] * channels
    # Half as many elements a thread as below NCHW: each has an address of its own where groups are not exact.
    warps = lanes * pixels // (1024 if exact else 512)
    launch = Launch("adagn_fused_nhwc", _FUSED, {**constexprs, "PIXELS": pixels}, grid, warps)
    return Plan(NHWC, (launch,), {"group_channels": fits, "pixels": (1, pixels)}, ("channels",) if exact else ())


def _split_nhwc(channels: int, exact: bool, chunk: tuple[int, int]) -> Plan:
    constexprs, (least, most) = _lanes(channels, exact)
    constexprs["PIXELS"] = 4096 // (constexprs["GROUPS"] * channels)
    grid: Grid = (("batch", CeilDiv(("groups",), constexprs["GROUPS"])), ("chunks",), _ONE)
    if channels == _WIDEST:
        # This tile goes over a group's channels in turns.
        most = _MOST_GROUP_CHANNELS
    stats = Launch("adagn_stats_nhwc", _STATS_NHWC, constexprs, grid, 8)
    apply = Launch("adagn_apply_nhwc", _APPLY, constexprs, grid, 8)
    return _split(NHWC, (stats, apply), chunk, (least, most), ("channels",) if exact else ())


_NCHW_TILES = ((8, 64), (32, 64), (8, 256), (32, 256), (4, 1024), (8, 1024), (16, 1024), (4, 4096))
_WIDEST = 32

LAUNCHES = OpLaunches(
    op="AdaGN",
    folder="adagn",
    tensors={"x": "T", "scale": "T", "shift": "T", "partials": "float32", "y": "T"},
    plans=(
        *(_fused_nchw(*tile, aligned=True) for tile in _NCHW_TILES),
        *(_split_nchw(chunk, aligned=True) for chunk in _CHUNKS),
        *(_fused_nchw(*tile, aligned=False) for tile in ((8, 64), (32, 256), (16, 1024))),
        *(_split_nchw(chunk, aligned=False) for chunk in _CHUNKS),
        *(_fused_nhwc(channels, pixels, True) for channels in (4, 8, 16) for pixels in (64, 256)),
        *(_split_nhwc(channels, True, chunk) for channels in (4, 8, 16) for chunk in _CHUNKS),
        *(_fused_nhwc(channels, 64, False) for channels in (8, 16, 32)),
        *(_split_nhwc(channels, False, chunk) for channels in (8, 16, _WIDEST) for chunk in _CHUNKS),
    ),
)
"""Small tiles before large ones, and aligned ones before those that take any address and size."""

ALL = (LAUNCHES,)
"""AdaGNSilu runs the same kernels: its activation is an argument of theirs."""

SINGLE, SPLIT = (
    replace(LAUNCHES, plans=tuple(plan for plan in LAUNCHES.plans if len(plan.launches) == count)) for count in (1, 2)
)
"""The plans of one launch, and those of two, for runtimes that give each launch a node of its own."""


def single_launch(layout: str, channels: int, pixels: int, groups: int) -> bool:
    """Whether one launch runs the op on x of that layout, at aligned addresses; else it takes stats and apply."""
    measured = sizes((1, channels, pixels, 1), 1, groups, 0.0, "none")
    return any(plan.serves(layout, measured, aligned=True) for plan in SINGLE.plans)


def chunk_pixels(pixels: int) -> int:
    """Pixels of a chunk, from those of the image.

    Raises:
        ValueError: the image is larger than the kernels serve.
    """
    for length, most in _CHUNKS:
        if pixels <= length * most:
            return length
    raise ValueError(f"AdaGN: images of {pixels} pixels are too large for the Triton-language kernels")


def partials_shape(batch: Any, pixels: Any, groups: int, chunk_pixels: int) -> tuple[Any, ...]:
    """Shape of the partial statistics between stats and apply; batch and pixels may be symbolic."""
    chunks = evaluate((CeilDiv(("pixels",), chunk_pixels),), {"pixels": pixels})
    return tuple(evaluate(extent, {"batch": batch, "groups": groups, "chunks": chunks}) for extent in _PARTIALS)
