"""AdaGN as Triton-language kernels; the mathematics is in ``spec.py``.

What each moves, with b bytes an element of x (scale and shift are negligible):

    adagn_fused_*                 2 b N C H W   x read once, y written once; x stays in registers
    adagn_stats_*, adagn_apply_*  3 b N C H W   x read twice; the second time mostly from the L2 cache

Statistics are two-pass (the mean, then squared distances from it) within a tile.
Partial statistics of a large group are merged in a fixed order by Chan, Golub &
LeVeque's formula (1979), without atomics: equal inputs give equal bits. A chunk is
``chunk_pixels`` pixels of all the group's channels, whatever the memory layout, so that
one layout's partial statistics [N, groups, chunks, 2] serve the other too.

Floats arrive as their bits in an int32. A style of one row serves every sample:
its row is ``sample % style_rows``.
"""

import triton
import triton.language as tl

MERGED = tl.constexpr(64)
"""Partial statistics read at a time."""


@triton.jit
def _activated(value, activation):
    if activation == 1:
        value = value / (1.0 + tl.exp(-value))
    return value


@triton.jit
def _inverse_deviation(variance, epsilon):
    return tl.rsqrt(variance + epsilon.to(tl.float32, bitcast=True))


@triton.jit
def _slope_and_shift(scale, shift, style, real, inverse):
    """The style's two vectors in float32, the first times 1 / deviation; zero where a lane is not real."""
    slope = tl.load(scale + style, mask=real, other=0.0).to(tl.float32) * inverse
    return slope, tl.load(shift + style, mask=real, other=0.0).to(tl.float32)


@triton.jit
def _joined(mean, squares, done, part_mean, part_squares, count):
    """Mean and sum of squared distances of ``done`` elements and ``count`` more (Chan et al.)."""
    share = count.to(tl.float32) / (done + count)
    gap = part_mean - mean
    return mean + gap * share, squares + (part_squares + gap * gap * (share * done))


@triton.jit
def _merged(partials, chunks, chunk_size, total, active):
    """Mean and sum of squared distances from it, of chunks [chunks, 2] at each pointer of ``partials`` [G]."""
    mean = tl.zeros_like(active.to(tl.float32))
    squares = tl.zeros_like(mean)
    done = 0
    for first in range(0, chunks, MERGED):
        chunk = first + tl.arange(0, MERGED)[:, None]
        inside = (chunk < chunks) & active[None, :]
        size = tl.where(chunk < chunks, tl.minimum(chunk_size, total - chunk * chunk_size), 0).to(tl.float32)
        means = tl.load(partials[None, :] + 2 * chunk, mask=inside, other=0.0)
        inner = tl.load(partials[None, :] + 2 * chunk + 1, mask=inside, other=0.0)
        count = tl.minimum(chunk_size * MERGED, total - first * chunk_size)
        block_mean = tl.sum(size * means, axis=0) / count
        apart = tl.where(inside, means - block_mean[None, :], 0.0)
        block_squares = tl.sum(inner + size * apart * apart, axis=0)
        mean, squares = _joined(mean, squares, done, block_mean, block_squares, count)
        done += count
    return mean, squares


@triton.jit(do_not_specialize=["epsilon"])
def adagn_fused_nchw(
    x, scale, shift, channels, pixels, groups, style_rows, epsilon, activation, y,
    CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """One program a (sample, group), which it holds as a tile [CHANNELS, PIXELS]."""
    program = tl.program_id(0)
    sample, group = program // groups, program % groups
    group_channels = channels // groups
    channel = tl.arange(0, CHANNELS)
    pixel = tl.arange(0, PIXELS)[None, :]
    real = channel < group_channels
    inside = real[:, None] & (pixel < pixels)
    start = program.to(tl.int64) * (group_channels * pixels)
    offset = channel[:, None] * pixels + pixel
    value = tl.load(x + start + offset, mask=inside, other=0.0).to(tl.float32)

    count = group_channels * pixels
    mean = tl.sum(value) / count
    centred = tl.where(inside, value - mean, 0.0)
    inverse = _inverse_deviation(tl.sum(centred * centred) / count, epsilon)

    # Styles are read as vectors: as columns of the tile each thread would read its own copy.
    style = (sample % style_rows) * channels + group * group_channels + channel
    slope, offset_y = _slope_and_shift(scale, shift, style, real, inverse)
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
        mean, squares = _joined(mean, squares, done, tile_mean, tl.sum(centred * centred), count)
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
    elements = group_channels * pixels
    group = sample.to(tl.int64) * groups + channel // group_channels
    only = tl.arange(0, 1)
    partial = partials + 2 * (group * chunks + only)
    mean, squares = _merged(partial, chunks, chunk_pixels * group_channels, elements, only == 0)
    inverse = _inverse_deviation(squares / elements, epsilon)
    style = (sample % style_rows) * channels + channel
    slope = tl.load(scale + style).to(tl.float32) * inverse
    offset_y = tl.load(shift + style).to(tl.float32)

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
    inverse = _to_lanes(_inverse_deviation(variance, epsilon), GROUPS, CHANNELS)

    style = (sample % style_rows) * channels + channel
    slope, offset_y = _slope_and_shift(scale, shift, style, real, inverse)
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
            mean, squares = _joined(mean, squares, done, tile_mean, tile_squares, count)
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
    partial = partials + 2 * (sample.to(tl.int64) * groups + group) * chunks
    mean, squares = _merged(partial, chunks, chunk_pixels * group_channels, pixels * group_channels, group < groups)
    variance = squares / (pixels * group_channels)
    inverse = _to_lanes(_inverse_deviation(variance, epsilon), GROUPS, CHANNELS)
    mean = _to_lanes(mean, GROUPS, CHANNELS)

    start = sample.to(tl.int64) * pixels * channels
    end = tl.minimum(pixels, (chunk + 1) * chunk_pixels)
    for first in range(0, group_channels, CHANNELS):
        channel, real = _lanes(block, first, groups, group_channels, GROUPS, CHANNELS, EXACT)
        style = (sample % style_rows) * channels + channel
        slope, offset_y = _slope_and_shift(scale, shift, style, real, inverse)
        for first_pixel in range(chunk * chunk_pixels, end, PIXELS):
            pixel = first_pixel + tl.arange(0, PIXELS)[:, None]
            inside = (pixel < end) & real[None, :]
            offset = pixel.to(tl.int64) * channels + channel[None, :]
            value = tl.load(x + start + offset, mask=inside, other=0.0).to(tl.float32)
            result = (value - mean[None, :]) * slope[None, :] + offset_y[None, :]
            tl.store(y + start + offset, _activated(result, activation).to(y.dtype.element_ty), mask=inside)
