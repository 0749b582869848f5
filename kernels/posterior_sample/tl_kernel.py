"""PosteriorSample as a Triton-language kernel; the mathematics is in ``spec.py``.

With b bytes an element of x0_raw it moves (b + 12) N C H W: it reads x0_raw, x_t and noise, and writes x_prev.

Floats arrive as their bits in an int32.
"""

import triton
import triton.language as tl


@triton.jit
def _draw(x0_raw, x_t, noise, coef_x0, coef_xt, sigma, squash):
    x_0 = x0_raw.to(tl.float32)
    if squash == 1:
        # tanh; exp of a negative number cannot overflow.
        small = tl.exp(-2.0 * tl.abs(x_0))
        size = (1.0 - small) / (1.0 + small)
        x_0 = tl.where(x_0 < 0, -size, size)
    return (
        coef_x0.to(tl.float32, bitcast=True) * x_0
        + coef_xt.to(tl.float32, bitcast=True) * x_t
        + sigma.to(tl.float32, bitcast=True) * noise
    )


@triton.jit(do_not_specialize=["coef_x0", "coef_xt", "sigma"])
def posterior_sample(
    x0_raw, x_t, noise, elements, coef_x0, coef_xt, sigma, squash, x_prev, BLOCK: tl.constexpr
):  # fmt: skip
    """One program a sample (y) and BLOCK elements (x), in whichever order all tensors have them in memory."""
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = element < elements
    start = tl.program_id(1).to(tl.int64) * elements
    raw = tl.load(x0_raw + start + element, mask=inside, other=0.0)
    state = tl.load(x_t + start + element, mask=inside, other=0.0)
    drawn = tl.load(noise + start + element, mask=inside, other=0.0)
    value = _draw(raw, state, drawn, coef_x0, coef_xt, sigma, squash)
    tl.store(x_prev + start + element, value, mask=inside)
