"""StyleLrelu as a Triton-language kernel; the mathematics is in ``spec.py``.

It moves 2 b N C H W, with b bytes an element of x: x read, y written; what is broadcast over them is negligible.
"""

import triton
import triton.language as tl


@triton.jit
def _leaky(value, alpha):
    # Bits that are the number one arrive as a constant, which has none to read until it is a value.
    slope = tl.full((), alpha, tl.int32).to(tl.float32, bitcast=True)
    return tl.where(value < 0, value * slope, value)


@triton.jit
def style_lrelu(
    x,
    scale,
    noise,
    bias,
    limit,
    elements,
    channels,
    pixels,
    noise_rows,
    noise_pixels,
    alpha,
    y,
    CHANNELS_LAST: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program a sample (y) and BLOCK elements (x), in the order in which they lie in memory."""
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    sample = tl.program_id(1)
    inside = element < elements
    if CHANNELS_LAST:
        channel, pixel = element % channels, element // channels
    else:
        channel, pixel = element // pixels, element % pixels
    # One row, and one pixel, serve all.
    picture = (sample % noise_rows).to(tl.int64) * noise_pixels + pixel % noise_pixels
    style = tl.load(scale + sample.to(tl.int64) * channels + channel, mask=inside, other=0.0)
    place = sample.to(tl.int64) * elements + element
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32) * style
    value = value + tl.load(noise + picture, mask=inside, other=0.0)
    value = value + tl.load(bias + channel, mask=inside, other=0.0)
    value = _leaky(value, alpha)
    most = tl.load(limit)
    # Not by minimum and maximum, which hide nan.
    value = tl.where(value < -most, -most, value)
    value = tl.where(value > most, most, value)
    tl.store(y + place, value.to(y.dtype.element_ty), mask=inside)
