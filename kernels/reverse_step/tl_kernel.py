"""ReverseStep and ReverseMean as Triton-language kernels; the mathematics is in ``spec.py``.

What each moves, with b bytes an element of out:

    reverse_step   (b + 12) N C H W   reads out, x and noise, writes x_prev
    reverse_mean   (b +  8) N C H W   reads out and x, writes x_prev
"""

import triton
import triton.language as tl


@triton.jit
def _place(elements, BLOCK: tl.constexpr):
    """Offsets of one program, a sample (y) and BLOCK elements (x), and which of them are inside."""
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    return tl.program_id(1).to(tl.int64) * elements + element, element < elements


@triton.jit
def _mean(out, x, coefficients):
    c0, a, b = tl.load(coefficients), tl.load(coefficients + 1), tl.load(coefficients + 2)
    lo, hi, ct = tl.load(coefficients + 3), tl.load(coefficients + 4), tl.load(coefficients + 5)
    x_0 = a * out.to(tl.float32) + b * x
    # Not by minimum and maximum, which hide nan.
    x_0 = tl.where(x_0 < lo, lo, x_0)
    x_0 = tl.where(x_0 > hi, hi, x_0)
    return c0 * x_0 + ct * x


@triton.jit
def reverse_step(out, x, noise, coefficients, elements, x_prev, BLOCK: tl.constexpr):
    """One program a sample (y) and BLOCK elements (x), in whichever order all images have them in memory."""
    place, inside = _place(elements, BLOCK)
    raw = tl.load(out + place, mask=inside, other=0.0)
    state = tl.load(x + place, mask=inside, other=0.0)
    drawn = tl.load(noise + place, mask=inside, other=0.0)
    value = _mean(raw, state, coefficients) + tl.load(coefficients + 6) * drawn
    tl.store(x_prev + place, value, mask=inside)


@triton.jit
def reverse_mean(out, x, coefficients, elements, x_prev, BLOCK: tl.constexpr):
    """As reverse_step, without noise."""
    place, inside = _place(elements, BLOCK)
    raw = tl.load(out + place, mask=inside, other=0.0)
    state = tl.load(x + place, mask=inside, other=0.0)
    tl.store(x_prev + place, _mean(raw, state, coefficients), mask=inside)
