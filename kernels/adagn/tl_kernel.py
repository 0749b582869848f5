"""AdaGN as Triton-language kernels; the mathematics is in ``spec.py``, what its gradient shares in ``tl_groups.py``.

What each moves, with b bytes an element of x (scale and shift are negligible):

    adagn_fused_*                 2 b N C H W   x read once, y written once; x stays in registers
    adagn_stats_*, adagn_apply_*  3 b N C H W   x read twice; the second time mostly from the L2 cache
"""

import triton
import triton.language as tl

from .tl_groups import held_nchw, inverse_deviation, joined, slope_and_shift, statistics


@triton.jit
def _activated(value, activation):
    if activation == 1:
        value = value / (1.0 + tl.exp(-value))
    return value


@triton.jit(do_not_specialize=["epsilon"])
def adagn_fused_nchw(
    x, scale, shift, channels, pixels, groups, style_rows, epsilon, activation, y,
    CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """One program a (sample, group), which it holds as a tile [CHANNELS, PIXELS]."""
    start, offset, inside, centred, inverse, style, real = held_nchw(
        x, channels, pixels, groups, style_rows, epsilon, CHANNELS, PIXELS
    )
    slope, offset_y = slope_and_shift(scale, shift, style, real, inverse)
    result = _activated(centred * slope[:, None] + offset_y[:, None], activation)
    tl.store(y + start + offset, result.to(y.dtype.element_ty), mask=inside)


@triton.jit
def adagn_stats_nchw(
    x, channels, pixels, groups, chunks, partials, CHANNELS: tl.constexpr, PIXELS: tl.constexpr
):  # fmt: skip
    """Partial statistics: one program a (sample, group) and PIXELS pixels, the chunk; CHANNELS at a time."""
    program, chunk = tl.program_id(0), tl.program_id(1)
    group_channels = channels // groups
    start = program.to(tl.int64) * (group_channels * pixels)
    pixel = chunk * PIXELS + tl.arange(0, PIXELS)[None, :]
    tile_pixels = tl.minimum(PIXELS, pixels - chunk * PIXELS)
    mean, squares = 0.0, 0.0
    done = 0
    for first in range(0, group_channels, CHANNELS):
        channel = first + tl.arange(0, CHANNELS)[:, None]
        inside = (channel < group_channels) & (pixel < pixels)
        value = tl.load(x + start + channel * pixels + pixel, mask=inside, other=0.0).to(tl.float32)
        count = tile_pixels * tl.minimum(CHANNELS, group_channels - first)
        tile_mean = tl.sum(value) / count
        centred = tl.where(inside, value - tile_mean, 0.0)
        mean, squares = joined(mean, squares, done, tile_mean, tl.sum(centred * centred), count)
        done += count
    partial = partials + 2 * (program.to(tl.int64) * chunks + chunk)
    tl.store(partial, mean)
    tl.store(partial + 1, squares)


@triton.jit(do_not_specialize=["epsilon"])
def adagn_apply_nchw(
    x, partials, scale, shift, channels, pixels, groups, chunk_pixels, chunks, style_rows, epsilon, activation, y,
    PIXELS: tl.constexpr,
):  # fmt: skip
    """One program a (sample, channel) and PIXELS pixels; merges its group's partial statistics."""
    program = tl.program_id(0)
    sample, channel = program // channels, program % channels
    group_channels = channels // groups
    only = tl.arange(0, 1)
    group = sample.to(tl.int64) * groups + channel // group_channels + only
    mean, inverse = statistics(partials, group, only == 0, chunks, chunk_pixels, pixels, group_channels, epsilon)
    style = (sample % style_rows) * channels + channel
    slope, offset_y = slope_and_shift(scale, shift, style + only, only == 0, inverse)

    pixel = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < pixels
    start = program.to(tl.int64) * pixels
    value = tl.load(x + start + pixel, mask=inside, other=0.0).to(tl.float32)
    result = _activated((value - mean) * slope + offset_y, activation)
    tl.store(y + start + pixel, result.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _lanes(block, first, groups, group_channels, GROUPS: tl.constexpr, CHANNELS: tl.constexpr, EXACT: tl.constexpr):
    """Channels of GROUPS groups, from the ``first`` within each, as lanes [GROUPS * CHANNELS], and which are real."""
    lane = tl.arange(0, GROUPS * CHANNELS)
    if EXACT:
        # Channels of whole groups lie side by side; said so, for wide accesses.
        channel = block * (GROUPS * CHANNELS) + lane
        real = channel < groups * CHANNELS
    else:
        group = block * GROUPS + lane // CHANNELS
        within = first + lane % CHANNELS
        channel = group * group_channels + within
        real = (group < groups) & (within < group_channels)
    return channel, real


@triton.jit
def _group_sums(lanes, GROUPS: tl.constexpr, CHANNELS: tl.constexpr):
    """[GROUPS * CHANNELS] -> sums over each group's channels [GROUPS]."""
    return tl.sum(tl.reshape(lanes, (GROUPS, CHANNELS)), axis=1)


@triton.jit
def _to_lanes(groups, GROUPS: tl.constexpr, CHANNELS: tl.constexpr):
    """[GROUPS] -> one value a lane [GROUPS * CHANNELS]."""
    return tl.reshape(tl.broadcast_to(groups[:, None], (GROUPS, CHANNELS)), (GROUPS * CHANNELS,))


@triton.jit(do_not_specialize=["epsilon"])
def adagn_fused_nhwc(
    x, scale, shift, channels, pixels, groups, style_rows, epsilon, activation, y,
    GROUPS: tl.constexpr, CHANNELS: tl.constexpr, EXACT: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """One program a sample and GROUPS groups, which it holds as a tile [PIXELS, GROUPS * CHANNELS].

    GROUPS * CHANNELS elements are at least 64 bytes a pixel, contiguous but for what EXACT excludes: lanes
    without a channel, where a group's channels are no power of two.
    """
    blocks = tl.cdiv(groups, GROUPS)
    program = tl.program_id(0)
    sample, block = program // blocks, program % blocks
    group_channels = channels // groups
    channel, real = _lanes(block, 0, groups, group_channels, GROUPS, CHANNELS, EXACT)
    pixel = tl.arange(0, PIXELS)[:, None]
    inside = (pixel < pixels) & real[None, :]
    start = sample.to(tl.int64) * pixels * channels
    offset = pixel.to(tl.int64) * channels + channel[None, :]
    value = tl.load(x + start + offset, mask=inside, other=0.0).to(tl.float32)

    count = group_channels * pixels
    mean = _group_sums(tl.sum(value, axis=0), GROUPS, CHANNELS) / count
    centred = tl.where(inside, value - _to_lanes(mean, GROUPS, CHANNELS)[None, :], 0.0)
    variance = _group_sums(tl.sum(centred * centred, axis=0), GROUPS, CHANNELS) / count
    inverse = _to_lanes(inverse_deviation(variance, epsilon), GROUPS, CHANNELS)

    style = (sample % style_rows) * channels + channel
    slope, offset_y = slope_and_shift(scale, shift, style, real, inverse)
    result = _activated(centred * slope[None, :] + offset_y[None, :], activation)
    tl.store(y + start + offset, result.to(y.dtype.element_ty), mask=inside)


@triton.jit
def adagn_stats_nhwc(
    x, channels, pixels, groups, chunk_pixels, chunks, partials,
    GROUPS: tl.constexpr, CHANNELS: tl.constexpr, EXACT: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Partial statistics: one program a sample, GROUPS groups and ``chunk_pixels``; PIXELS and CHANNELS at a time."""
    blocks = tl.cdiv(groups, GROUPS)
    program, chunk = tl.program_id(0), tl.program_id(1)
    sample, block = program // blocks, program % blocks
    group_channels = channels // groups
    start = sample.to(tl.int64) * pixels * channels
    end = tl.minimum(pixels, (chunk + 1) * chunk_pixels)
    mean = tl.zeros((GROUPS,), tl.float32)
    squares = tl.zeros((GROUPS,), tl.float32)
    done = 0
    for first_pixel in range(chunk * chunk_pixels, end, PIXELS):
        pixel = first_pixel + tl.arange(0, PIXELS)[:, None]
        tile_pixels = tl.minimum(PIXELS, end - first_pixel)
        for first in range(0, group_channels, CHANNELS):
            channel, real = _lanes(block, first, groups, group_channels, GROUPS, CHANNELS, EXACT)
            inside = (pixel < end) & real[None, :]
            offset = pixel.to(tl.int64) * channels + channel[None, :]
            value = tl.load(x + start + offset, mask=inside, other=0.0).to(tl.float32)
            count = tile_pixels * tl.minimum(CHANNELS, group_channels - first)
            tile_mean = _group_sums(tl.sum(value, axis=0), GROUPS, CHANNELS) / count
            centred = tl.where(inside, value - _to_lanes(tile_mean, GROUPS, CHANNELS)[None, :], 0.0)
            tile_squares = _group_sums(tl.sum(centred * centred, axis=0), GROUPS, CHANNELS)
            mean, squares = joined(mean, squares, done, tile_mean, tile_squares, count)
            done += count
    group = block * GROUPS + tl.arange(0, GROUPS)
    partial = partials + 2 * ((sample.to(tl.int64) * groups + group) * chunks + chunk)
    tl.store(partial, mean, mask=group < groups)
    tl.store(partial + 1, squares, mask=group < groups)


@triton.jit(do_not_specialize=["epsilon"])
def adagn_apply_nhwc(
    x, partials, scale, shift, channels, pixels, groups, chunk_pixels, chunks, style_rows, epsilon, activation, y,
    GROUPS: tl.constexpr, CHANNELS: tl.constexpr, EXACT: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """One program a sample, GROUPS groups and ``chunk_pixels``; merges its groups' partial statistics."""
    blocks = tl.cdiv(groups, GROUPS)
    program, chunk = tl.program_id(0), tl.program_id(1)
    sample, block = program // blocks, program % blocks
    group_channels = channels // groups
    group = block * GROUPS + tl.arange(0, GROUPS)
    mean, inverse = statistics(
        partials, sample.to(tl.int64) * groups + group, group < groups,
        chunks, chunk_pixels, pixels, group_channels, epsilon,
    )  # fmt: skip
    inverse = _to_lanes(inverse, GROUPS, CHANNELS)
    mean = _to_lanes(mean, GROUPS, CHANNELS)

    start = sample.to(tl.int64) * pixels * channels
    end = tl.minimum(pixels, (chunk + 1) * chunk_pixels)
    for first in range(0, group_channels, CHANNELS):
        channel, real = _lanes(block, first, groups, group_channels, GROUPS, CHANNELS, EXACT)
        style = (sample % style_rows) * channels + channel
        slope, offset_y = slope_and_shift(scale, shift, style, real, inverse)
        for first_pixel in range(chunk * chunk_pixels, end, PIXELS):
            pixel = first_pixel + tl.arange(0, PIXELS)[:, None]
            inside = (pixel < end) & real[None, :]
            offset = pixel.to(tl.int64) * channels + channel[None, :]
            value = tl.load(x + start + offset, mask=inside, other=0.0).to(tl.float32)
            result = (value - mean[None, :]) * slope[None, :] + offset_y[None, :]
            tl.store(y + start + offset, _activated(result, activation).to(y.dtype.element_ty), mask=inside)
