"""How AdaGN's Triton-language kernels are launched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..launch import NCHW, NHWC, CeilDiv, Extent, Grid, Launch, OpLaunches, Plan, float_bits

ACTIVATION_CODES = {"none": 0, "silu": 1}

_ONE: Extent = ()
_FUSED = ("x", "scale", "shift", "channels", "pixels", "groups", "style_rows", "epsilon", "activation", "y")
_STATS = ("x", "channels", "pixels", "groups", "chunks", "partials")
_MOST_ELEMENTS = 4096 * 65535
"""Elements of a group: counts of them are int32, and its pieces, the smallest of 4096, lie along a grid's y."""
_PARTIALS: dict[str, tuple[Extent, ...]] = {"partials": (("batch",), ("groups",), ("chunks",), (2,))}
_APPLY = ("x", "partials", *_FUSED[1:6], "chunks", *_FUSED[6:])


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


def _split_nchw(aligned: bool) -> Plan:
    chunk, pixels = 8192, 4096
    stats = Launch("adagn_stats_nchw", _STATS, {"CHUNK": chunk}, (("batch", "groups"), ("chunks",), _ONE), 16)
    grid = (("batch", "channels"), (CeilDiv(("pixels",), pixels),), _ONE)
    apply = Launch("adagn_apply_nchw", _APPLY, {"CHUNK": chunk, "PIXELS": pixels}, grid, 8)
    return Plan(
        NCHW,
        (stats, apply),
        {"group_elements": (1, _MOST_ELEMENTS)},
        ("pixels",) if aligned else (),
        derived={"chunks": (CeilDiv(("group_elements",), chunk),)},
        temporaries=_PARTIALS,
    )


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


def _split_nhwc(channels: int, exact: bool, chunk_pixels: int, most_chunks: int) -> Plan:
    constexprs, (least, most) = _lanes(channels, exact)
    constexprs["PIXELS"] = 4096 // (constexprs["GROUPS"] * channels)
    grid: Grid = (("batch", CeilDiv(("groups",), constexprs["GROUPS"])), ("chunks",), _ONE)
    if channels == _WIDEST:
        # This tile goes over a group's channels in turns; elements of all chunks merged at a time stay below 2**31.
        most = 2**14
    limits = {
        "group_channels": (least, most),
        "group_elements": (1, _MOST_ELEMENTS),
        "pixels": (1, chunk_pixels * most_chunks),
    }
    return Plan(
        NHWC,
        (
            Launch("adagn_stats_nhwc", _with(_STATS, "chunk_pixels"), constexprs, grid, 8),
            Launch("adagn_apply_nhwc", _with(_APPLY, "chunk_pixels"), constexprs, grid, 8),
        ),
        limits,
        ("channels",) if exact else (),
        derived={"chunk_pixels": (chunk_pixels,), "chunks": (CeilDiv(("pixels",), chunk_pixels),)},
        temporaries=_PARTIALS,
    )


def _with(arguments: tuple[str, ...], size: str) -> tuple[str, ...]:
    place = arguments.index("chunks")
    return (*arguments[:place], size, *arguments[place:])


_NCHW_TILES = ((8, 64), (32, 64), (8, 256), (32, 256), (4, 1024), (8, 1024), (16, 1024), (4, 4096))
_WIDEST = 32
_NHWC_CHUNKS = ((256, 64), (1024, 65535))
"""(pixels, most chunks): short chunks fill the chip at batch 1, long ones keep few partial statistics to merge."""

LAUNCHES = OpLaunches(
    op="AdaGN",
    folder="adagn",
    tensors={"x": "T", "scale": "T", "shift": "T", "partials": "float32", "y": "T"},
    plans=(
        *(_fused_nchw(*tile, aligned=True) for tile in _NCHW_TILES),
        _split_nchw(aligned=True),
        *(_fused_nchw(*tile, aligned=False) for tile in ((8, 64), (32, 256), (16, 1024))),
        _split_nchw(aligned=False),
        *(_fused_nhwc(channels, pixels, True) for channels in (4, 8, 16) for pixels in (64, 256)),
        *(_split_nhwc(channels, True, *chunk) for channels in (4, 8, 16) for chunk in _NHWC_CHUNKS),
        *(_fused_nhwc(channels, 64, False) for channels in (8, 16, 32)),
        *(_split_nhwc(channels, False, *chunk) for channels in (8, 16, _WIDEST) for chunk in _NHWC_CHUNKS),
    ),
)
"""Small tiles before large ones, and aligned ones before those that take any address and size."""
