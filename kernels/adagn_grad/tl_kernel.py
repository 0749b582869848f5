"""AdaGN's gradient as Triton-language kernels; the mathematics is in ``spec.py``, statistics and tiles are AdaGN's.

What each moves, with b bytes an element of x (scale and shift are negligible):

    adagn_grad_fused_*                       3 b N C H W   dy and x read once and held in registers, dx written once
    adagn_stats_*, adagn_grad_sums_*, _apply_*
                                             6 b N C H W   x read three times and dy twice, mostly from the L2 cache

With v = r u and c = x - mean, dx = v - mean(v) - c r^2 mean(v c). The sums of v and of v c over
a chunk are partial sums [N, groups, chunks, 2], summed in a fixed order, as partial statistics are merged.
"""

import triton
import triton.language as tl

from ..adagn.tl_groups import MERGED, held_nchw, inverse_deviation, slope_and_shift, statistics
from ..adagn.tl_kernel import adagn_stats_nchw as adagn_stats_nchw
from ..adagn.tl_kernel import adagn_stats_nhwc as adagn_stats_nhwc


@triton.jit
def _backward(dy, centred, slope, shift, activation):
    """v, from dy in its own type; ``slope`` is scale times 1 / deviation."""
    v = dy.to(tl.float32) * slope
    if activation == 1:
        a = centred * slope + shift
        s = 1.0 / (1.0 + tl.exp(-a))
        v = v * (s + a * s * (1.0 - s))
    return v


@triton.jit
def _means(sums, group, active, chunks, total, inverse):
    """mean(v) and r^2 mean(v c) of groups [G] of ``total`` elements, from their chunks' partial sums."""
    pointers = sums + 2 * group * chunks
    v = tl.zeros_like(inverse)
    vc = tl.zeros_like(inverse)
    for first in range(0, chunks, MERGED):
        chunk = first + tl.arange(0, MERGED)[:, None]
        inside = (chunk < chunks) & active[None, :]
        v += tl.sum(tl.load(pointers[None, :] + 2 * chunk, mask=inside, other=0.0), axis=0)
        vc += tl.sum(tl.load(pointers[None, :] + 2 * chunk + 1, mask=inside, other=0.0), axis=0)
    return v / total, vc / total * inverse * inverse


@triton.jit(do_not_specialize=["epsilon"])
def adagn_grad_fused_nchw(
    dy, x, scale, shift, channels, pixels, groups, style_rows, epsilon, activation, dx,
    CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """One program a (sample, group), which it holds as two tiles [CHANNELS, PIXELS]."""
    start, offset, inside, centred, inverse, style, real = held_nchw(
        x, channels, pixels, groups, style_rows, epsilon, CHANNELS, PIXELS
    )
    slope, offset_y = slope_and_shift(scale, shift, style, real, inverse)
    given = tl.load(dy + start + offset, mask=inside, other=0.0)
    v = _backward(given, centred, slope[:, None], offset_y[:, None], activation)
    count = channels // groups * pixels
    along = tl.sum(v * centred) / count * inverse * inverse
    result = v - tl.sum(v) / count - centred * along
    tl.store(dx + start + offset, result.to(dx.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["epsilon"])
def adagn_grad_sums_nchw(
    dy, x, partials, scale, shift, channels, pixels, groups, chunk_pixels, chunks, style_rows, epsilon, activation,
    sums, CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Partial sums: one program a (sample, group) and ``chunk_pixels``; PIXELS and CHANNELS at a time."""
    program, chunk = tl.program_id(0), tl.program_id(1)
    sample, group = program // groups, program % groups
    group_channels = channels // groups
    only = tl.arange(0, 1)
    mean, inverse = statistics(
        partials, program.to(tl.int64) + only, only == 0, chunks, chunk_pixels, pixels, group_channels, epsilon
    )
    start = program.to(tl.int64) * (group_channels * pixels)
    end = tl.minimum(pixels, (chunk + 1) * chunk_pixels)
    sum_v = tl.zeros((CHANNELS, PIXELS), tl.float32)
    sum_vc = tl.zeros((CHANNELS, PIXELS), tl.float32)
    for first in range(0, group_channels, CHANNELS):
        channel = first + tl.arange(0, CHANNELS)
        real = channel < group_channels
        style = (sample % style_rows) * channels + group * group_channels + channel
        slope, offset_y = slope_and_shift(scale, shift, style, real, inverse)
        for first_pixel in range(chunk * chunk_pixels, end, PIXELS):
            pixel = first_pixel + tl.arange(0, PIXELS)[None, :]
            inside = real[:, None] & (pixel < end)
            place = start + channel[:, None] * pixels + pixel
            centred = tl.load(x + place, mask=inside, other=0.0).to(tl.float32) - mean[:, None]
            given = tl.load(dy + place, mask=inside, other=0.0)
            v = _backward(given, centred, slope[:, None], offset_y[:, None], activation)
            sum_v += v
            sum_vc += v * centred
    place = sums + 2 * (program.to(tl.int64) * chunks + chunk)
    tl.store(place, tl.sum(sum_v))
    tl.store(place + 1, tl.sum(sum_vc))


@triton.jit(do_not_specialize=["epsilon"])
def adagn_grad_apply_nchw(
    dy, x, partials, sums, scale, shift, channels, pixels, groups, chunk_pixels, chunks, style_rows, epsilon,
    activation, dx, PIXELS: tl.constexpr,
):  # fmt: skip
    """One program a (sample, channel) and PIXELS pixels; merges its group's partial statistics and sums."""
    program = tl.program_id(0)
    sample, channel = program // channels, program % channels
    group_channels = channels // groups
    only = tl.arange(0, 1)
    group = sample.to(tl.int64) * groups + channel // group_channels + only
    mean, inverse = statistics(partials, group, only == 0, chunks, chunk_pixels, pixels, group_channels, epsilon)
    mean_v, along = _means(sums, group, only == 0, chunks, pixels * group_channels, inverse)
    style = (sample % style_rows) * channels + channel
    slope, offset_y = slope_and_shift(scale, shift, style + only, only == 0, inverse)

    pixel = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < pixels
    start = program.to(tl.int64) * pixels
    centred = tl.load(x + start + pixel, mask=inside, other=0.0).to(tl.float32) - mean
    given = tl.load(dy + start + pixel, mask=inside, other=0.0)
    v = _backward(given, centred, slope, offset_y, activation)
    result = v - mean_v - centred * along
    tl.store(dx + start + pixel, result.to(dx.dtype.element_ty), mask=inside)


@triton.jit
def _lanes(block, first, channels, group_channels, LANES: tl.constexpr, EXACT: tl.constexpr):
    """Channels [LANES] from the ``first`` within each group, which are real, and the group of each.

    A block is LANES channels side by side where EXACT, which whole groups fill; else one group.
    """
    lane = tl.arange(0, LANES)
    if EXACT:
        channel = block * LANES + lane
        real = channel < channels
        group = channel // group_channels
    else:
        channel = block * group_channels + first + lane
        real = first + lane < group_channels
        group = tl.zeros_like(lane) + block
    return channel, real, group


@triton.jit
def _group_totals(values, group):
    """For each lane the sum of all lanes of its group."""
    same = group[:, None] == group[None, :]
    return tl.sum(tl.where(same, values[None, :], 0.0), axis=1)


@triton.jit(do_not_specialize=["epsilon"])
def adagn_grad_fused_nhwc(
    dy, x, scale, shift, channels, pixels, groups, style_rows, epsilon, activation, dx,
    LANES: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """One program a sample and LANES channels of whole groups, which it holds as two tiles [PIXELS, LANES]."""
    blocks = tl.cdiv(channels, LANES)
    program = tl.program_id(0)
    sample, block = program // blocks, program % blocks
    group_channels = channels // groups
    channel, real, group = _lanes(block, 0, channels, group_channels, LANES, True)
    pixel = tl.arange(0, PIXELS)[:, None]
    inside = (pixel < pixels) & real[None, :]
    start = sample.to(tl.int64) * pixels * channels
    offset = pixel.to(tl.int64) * channels + channel[None, :]
    value = tl.load(x + start + offset, mask=inside, other=0.0).to(tl.float32)
    given = tl.load(dy + start + offset, mask=inside, other=0.0)

    count = group_channels * pixels
    mean = _group_totals(tl.sum(value, axis=0), group) / count
    centred = tl.where(inside, value - mean[None, :], 0.0)
    inverse = inverse_deviation(_group_totals(tl.sum(centred * centred, axis=0), group) / count, epsilon)
    style = (sample % style_rows) * channels + channel
    slope, offset_y = slope_and_shift(scale, shift, style, real, inverse)
    v = _backward(given, centred, slope[None, :], offset_y[None, :], activation)
    mean_v = _group_totals(tl.sum(v, axis=0), group) / count
    along = _group_totals(tl.sum(v * centred, axis=0), group) / count * inverse * inverse
    result = v - mean_v[None, :] - centred * along[None, :]
    tl.store(dx + start + offset, result.to(dx.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["epsilon"])
def adagn_grad_sums_nhwc(
    dy, x, partials, scale, shift, channels, pixels, groups, chunk_pixels, chunks, style_rows, epsilon, activation,
    sums, LANES: tl.constexpr, EXACT: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Partial sums: one program a sample, a block of channels and ``chunk_pixels``; PIXELS and LANES at a time."""
    blocks = tl.cdiv(channels, LANES) if EXACT else groups
    program, chunk = tl.program_id(0), tl.program_id(1)
    sample, block = program // blocks, program % blocks
    group_channels = channels // groups
    leading, _first_real, group = _lanes(block, 0, channels, group_channels, LANES, EXACT)
    every_group, active = sample.to(tl.int64) * groups + group, group < groups
    mean, inverse = statistics(partials, every_group, active, chunks, chunk_pixels, pixels, group_channels, epsilon)

    start = sample.to(tl.int64) * pixels * channels
    end = tl.minimum(pixels, (chunk + 1) * chunk_pixels)
    sum_v = tl.zeros((PIXELS, LANES), tl.float32)
    sum_vc = tl.zeros((PIXELS, LANES), tl.float32)
    for first in range(0, group_channels, LANES):
        channel, real, _group = _lanes(block, first, channels, group_channels, LANES, EXACT)
        style = (sample % style_rows) * channels + channel
        slope, offset_y = slope_and_shift(scale, shift, style, real, inverse)
        for first_pixel in range(chunk * chunk_pixels, end, PIXELS):
            pixel = first_pixel + tl.arange(0, PIXELS)[:, None]
            inside = (pixel < end) & real[None, :]
            offset = pixel.to(tl.int64) * channels + channel[None, :]
            centred = tl.load(x + start + offset, mask=inside, other=0.0).to(tl.float32) - mean[None, :]
            given = tl.load(dy + start + offset, mask=inside, other=0.0)
            v = _backward(given, centred, slope[None, :], offset_y[None, :], activation)
            sum_v += v
            sum_vc += v * centred
    place = sums + 2 * (every_group * chunks + chunk)
    # One lane of each group tells its sums.
    one = active & (leading == group * group_channels)
    tl.store(place, _group_totals(tl.sum(sum_v, axis=0), group), mask=one)
    tl.store(place + 1, _group_totals(tl.sum(sum_vc, axis=0), group), mask=one)


@triton.jit(do_not_specialize=["epsilon"])
def adagn_grad_apply_nhwc(
    dy, x, partials, sums, scale, shift, channels, pixels, groups, chunk_pixels, chunks, style_rows, epsilon,
    activation, dx, LANES: tl.constexpr, EXACT: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """One program a sample, a block of channels and ``chunk_pixels``; merges its groups' statistics and sums."""
    blocks = tl.cdiv(channels, LANES) if EXACT else groups
    program, chunk = tl.program_id(0), tl.program_id(1)
    sample, block = program // blocks, program % blocks
    group_channels = channels // groups
    _leading, _first_real, group = _lanes(block, 0, channels, group_channels, LANES, EXACT)
    every_group, active = sample.to(tl.int64) * groups + group, group < groups
    mean, inverse = statistics(partials, every_group, active, chunks, chunk_pixels, pixels, group_channels, epsilon)
    mean_v, along = _means(sums, every_group, active, chunks, pixels * group_channels, inverse)

    start = sample.to(tl.int64) * pixels * channels
    end = tl.minimum(pixels, (chunk + 1) * chunk_pixels)
    for first in range(0, group_channels, LANES):
        channel, real, _group = _lanes(block, first, channels, group_channels, LANES, EXACT)
        style = (sample % style_rows) * channels + channel
        slope, offset_y = slope_and_shift(scale, shift, style, real, inverse)
        for first_pixel in range(chunk * chunk_pixels, end, PIXELS):
            pixel = first_pixel + tl.arange(0, PIXELS)[:, None]
            inside = (pixel < end) & real[None, :]
            offset = pixel.to(tl.int64) * channels + channel[None, :]
            centred = tl.load(x + start + offset, mask=inside, other=0.0).to(tl.float32) - mean[None, :]
            given = tl.load(dy + start + offset, mask=inside, other=0.0)
            v = _backward(given, centred, slope[None, :], offset_y[None, :], activation)
            result = v - mean_v[None, :] - centred * along[None, :]
            tl.store(dx + start + offset, result.to(dx.dtype.element_ty), mask=inside)
