"""The Philox ops as Triton-language kernels; the definition is in ``philox.py``.

Each writes its output once and reads a seed a sample; what it costs is arithmetic, ten
rounds of Philox for four elements.

Box-Muller is float32 throughout, yet within 2 ulp of the float64 definition. A word
has 32 bits and float32 holds 24, so where the result depends on the lower ones they
are kept: near u = 1 the logarithm is taken of the complement, angles are reduced to
eighths of a turn as integers, and both factors are a float and its remainder. None
of that relies on fused multiply-add, which the interpreter does not have.
"""

import triton
import triton.language as tl


@triton.jit
def _top(value):
    """The upper 12 bits of the significand: products of two such are exact."""
    return (value.to(tl.uint32, bitcast=True) & 0xFFFFF000).to(tl.float32, bitcast=True)


@triton.jit
def _radius(word):
    """sqrt(-2 ln u), u = (word + 1/2) / 2**32, and what rounding it has lost."""
    unit = 1.0 / 4294967296.0
    # u > 1/2: -ln(1 - w) = w + w² P(w), where w has a short word and so all its bits.
    w = ((word ^ 0xFFFFFFFF).to(tl.float32) + 0.5) * unit
    p = 1.653360486 * w - 2.388757706
    p = p * w + 1.908813715
    p = p * w - 0.6019341946
    p = p * w + 0.3178210557
    p = p * w + 0.1416148543
    p = p * w + 0.2020296901
    p = p * w + 0.2499173433
    p = p * w + 0.3333346248
    p = p * w + 0.5
    upper = word >= 0x80000000
    large = tl.where(upper, w, -tl.log((word.to(tl.float32) + 0.5) * unit))
    small = tl.where(upper, w * w * p, 0.0)
    total = large + small
    square, square_rest = 2.0 * total, 2.0 * (small - (total - large))
    root = tl.sqrt_rn(square)
    root_top = _top(root)
    root_rest = root - root_top
    lost = ((square - root_top * root_top) - 2.0 * root_top * root_rest) - root_rest * root_rest + square_rest
    return root, 0.5 * lost / root


@triton.jit
def _cos_sin(word):
    """cos and sin of 2π u, each with what rounding it has lost."""
    quarter = (word + 0x20000000) >> 30
    # In units of 2**-33 turns from the nearest quarter turn: |odd| < 2**30.
    odd = 2 * (word - (quarter << 30)).to(tl.int32, bitcast=True) + 1
    rounded = odd.to(tl.float32)
    unit = 1.0 / 1073741824.0
    rest = (odd - rounded.to(tl.int32)).to(tl.float32) * unit
    h = rounded * unit
    square = h * h
    # The angle is π/4 h; π/4 as two numbers, the first of 12 bits.
    first, second = 0.785156250, 2.41913388e-4
    p = 3.098640491e-7 * square - 3.657401976e-5
    p = p * square + 2.490394050e-3
    p = p * square - 8.074551076e-2
    h_top = _top(h)
    h_rest = h - h_top
    large = h_top * first
    small = (h_top * second + h_rest * first) + h_rest * second + rest * 0.785398163 + h * (square * p)
    sin = large + small
    sin_rest = small - (sin - large)
    p = 3.541960496e-6 * square - 3.259613877e-4
    p = p * square + 1.585433818e-2
    p = p * square - 3.084251285e-1
    less = square * p - h * rest * 0.616850275
    cos = 1.0 + less
    cos_rest = less - (cos - 1.0)

    swapped = (quarter & 1) == 1
    cos_sign = tl.where(((quarter + 1) & 2) == 2, -1.0, 1.0)
    sin_sign = tl.where((quarter & 2) == 2, -1.0, 1.0)
    return (
        cos_sign * tl.where(swapped, sin, cos),
        cos_sign * tl.where(swapped, sin_rest, cos_rest),
        sin_sign * tl.where(swapped, cos, sin),
        sin_sign * tl.where(swapped, cos_rest, sin_rest),
    )


@triton.jit
def _box_muller(radius_word, angle_word):
    root, root_rest = _radius(radius_word)
    cos, cos_rest, sin, sin_rest = _cos_sin(angle_word)
    return root * cos + (root * cos_rest + root_rest * cos), root * sin + (root * sin_rest + root_rest * sin)


@triton.jit
def _words(seed, stream, block):
    number = stream.to(tl.uint32, bitcast=True)
    zero = tl.zeros_like(block).to(tl.uint32)
    return tl.philox(seed, block.to(tl.uint32), zero + number, zero, zero)


@triton.jit
def normals(seed, stream, block):
    """Elements 4i..4i+3 of a stream for each block index i in ``block`` [B], as float32 [4 B] in their order.

    seed: int64; stream: int32, the bits of an unsigned number.
    """
    word0, word1, word2, word3 = _words(seed, stream, block)
    n0, n1 = _box_muller(word0, word1)
    n2, n3 = _box_muller(word2, word3)
    return tl.interleave(tl.interleave(n0, n2), tl.interleave(n1, n3))


@triton.jit
def _store(to, elements, value, BLOCKS: tl.constexpr):
    """The elements [4 BLOCKS] of one program: a sample (y) and BLOCKS blocks of four (x)."""
    element = 4 * BLOCKS * tl.program_id(0) + tl.arange(0, 4 * BLOCKS)
    start = tl.program_id(1).to(tl.int64) * elements
    tl.store(to + start + element, value.to(to.dtype.element_ty), mask=element < elements)


@triton.jit
def _blocks(BLOCKS: tl.constexpr):
    return tl.program_id(0) * BLOCKS + tl.arange(0, BLOCKS)


@triton.jit(do_not_specialize=["stream"])
def philox_normal(seed, elements, stream, noise, BLOCKS: tl.constexpr):
    """One program a sample (y) and BLOCKS blocks of four elements (x)."""
    value = normals(tl.load(seed + tl.program_id(1)), stream, _blocks(BLOCKS))
    _store(noise, elements, value, BLOCKS)


@triton.jit
def philox_normal_at(seed, stream, elements, noise, BLOCKS: tl.constexpr):
    """As philox_normal, the stream's number an int64 in memory, of which the low 32 bits count."""
    value = normals(tl.load(seed + tl.program_id(1)), tl.load(stream).to(tl.int32), _blocks(BLOCKS))
    _store(noise, elements, value, BLOCKS)


@triton.jit
def _scaled(word, below):
    return (word.to(tl.uint64) * below) >> 32


@triton.jit(do_not_specialize=["stream", "below"])
def philox_integer(seed, elements, stream, below, values, BLOCKS: tl.constexpr):
    """As philox_normal, integers; ``below``: the bits of an unsigned number."""
    word0, word1, word2, word3 = _words(tl.load(seed + tl.program_id(1)), stream, _blocks(BLOCKS))
    most = below.to(tl.uint32, bitcast=True).to(tl.uint64)
    even = tl.interleave(_scaled(word0, most), _scaled(word2, most))
    odd = tl.interleave(_scaled(word1, most), _scaled(word3, most))
    _store(values, elements, tl.interleave(even, odd), BLOCKS)
