"""What the Triton-language kernels of AdaGN and of its gradient share: groups, their statistics, their styles.

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
"""Chunks read at a time."""


@triton.jit
def inverse_deviation(variance, epsilon):
    return tl.rsqrt(variance + epsilon.to(tl.float32, bitcast=True))


@triton.jit
def slope_and_shift(scale, shift, style, real, inverse):
    """The style's two vectors in float32, the first times 1 / deviation; zero where a lane is not real."""
    slope = tl.load(scale + style, mask=real, other=0.0).to(tl.float32) * inverse
    return slope, tl.load(shift + style, mask=real, other=0.0).to(tl.float32)


@triton.jit
def joined(mean, squares, done, part_mean, part_squares, count):
    """Mean and sum of squared distances of ``done`` elements and ``count`` more (Chan et al.)."""
    share = count.to(tl.float32) / (done + count)
    gap = part_mean - mean
    return mean + gap * share, squares + (part_squares + gap * gap * (share * done))


@triton.jit
def statistics(partials, group, active, chunks, chunk_pixels, pixels, group_channels, epsilon):
    """Mean and 1 / deviation of groups [G], merged from their chunks' partial statistics.

    ``group`` counts them through all samples; ``active``: which are there.
    """
    chunk_size, total = chunk_pixels * group_channels, pixels * group_channels
    pointers = partials + 2 * group * chunks
    mean = tl.zeros_like(active.to(tl.float32))
    squares = tl.zeros_like(mean)
    done = 0
    for first in range(0, chunks, MERGED):
        chunk = first + tl.arange(0, MERGED)[:, None]
        inside = (chunk < chunks) & active[None, :]
        size = tl.where(chunk < chunks, tl.minimum(chunk_size, total - chunk * chunk_size), 0).to(tl.float32)
        means = tl.load(pointers[None, :] + 2 * chunk, mask=inside, other=0.0)
        inner = tl.load(pointers[None, :] + 2 * chunk + 1, mask=inside, other=0.0)
        count = tl.minimum(chunk_size * MERGED, total - first * chunk_size)
        block_mean = tl.sum(size * means, axis=0) / count
        apart = tl.where(inside, means - block_mean[None, :], 0.0)
        block_squares = tl.sum(inner + size * apart * apart, axis=0)
        mean, squares = joined(mean, squares, done, block_mean, block_squares, count)
        done += count
    return mean, inverse_deviation(squares / total, epsilon)


@triton.jit
def held_nchw(
    x, channels, pixels, groups, style_rows, epsilon, CHANNELS: tl.constexpr, PIXELS: tl.constexpr
):  # fmt: skip
    """This program's (sample, group) as a tile [CHANNELS, PIXELS].

    Returns:
        where it starts, and the offset of each element from there; which are inside; x less its mean, 0 outside;
        1 / deviation; and of each channel the place in a style, and whether it is real.
    """
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
    inverse = inverse_deviation(tl.sum(centred * centred) / count, epsilon)
    # Styles are read as vectors: as columns of the tile each thread would read its own copy.
    style = (sample % style_rows) * channels + group * group_channels + channel
    return start, offset, inside, centred, inverse, style, real
