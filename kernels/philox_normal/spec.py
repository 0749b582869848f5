"""PhiloxNormal: standard normal noise from a seed, as `philox.normal` defines it.

The body is the same arithmetic by ONNX ops: 32-bit words held in uint64, so that
the product of two words is exact, and float64 after that.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..op import OpSpec
from . import philox

_FLOPS = 5
"""A value's: logarithm, root, sine and the products of Box-Muller; Philox itself is integers."""


def reference(seed: torch.Tensor, stream: int, shape: Sequence[int]) -> torch.Tensor:
    """Standard normal values of one stream.

    Args:
        seed: int64 [N, 1].
        stream: the stream's number.
        shape: shape of one sample.

    Returns:
        float32 [N, *shape].

    Raises:
        ValueError: seed is not [N, 1].
    """
    if seed.dim() != 2 or seed.shape[1] != 1:
        raise ValueError(f"PhiloxNormal: seed has shape {list(seed.shape)}, it must be [N, 1]")
    return torch.from_numpy(philox.normal(seed.reshape(-1).numpy(), stream, shape))


def _round(number: int) -> str:
    """One Philox round in ONNX text, from words c0..c3 and keys k0, k1 of this round to those of the next."""
    now, then = number, number + 1
    return f"""
        p0_{now} = Mul (c0_{now}, multiplier_0)
        p1_{now} = Mul (c2_{now}, multiplier_1)
        high0_{now} = BitShift <direction = "RIGHT"> (p0_{now}, half_word)
        high1_{now} = BitShift <direction = "RIGHT"> (p1_{now}, half_word)
        x0_{now} = BitwiseXor (high1_{now}, c1_{now})
        c0_{then} = BitwiseXor (x0_{now}, k0_{now})
        c1_{then} = BitwiseAnd (p1_{now}, mask)
        x2_{now} = BitwiseXor (high0_{now}, c3_{now})
        c2_{then} = BitwiseXor (x2_{now}, k1_{now})
        c3_{then} = BitwiseAnd (p0_{now}, mask)
        k0_sum_{now} = Add (k0_{now}, increment_0)
        k0_{then} = BitwiseAnd (k0_sum_{now}, mask)
        k1_sum_{now} = Add (k1_{now}, increment_1)
        k1_{then} = BitwiseAnd (k1_sum_{now}, mask)"""


def _box_muller(first: int, second: int) -> str:
    """Two normal values from two words, in ONNX text."""
    return f"""
        u{first} = Mul (half_up_{first}, word_unit)
        u{second} = Mul (half_up_{second}, word_unit)
        log_{first} = Log (u{first})
        square_{first} = Mul (log_{first}, minus_two)
        length_{first} = Sqrt (square_{first})
        angle_{first} = Mul (u{second}, two_pi)
        cos_{first} = Cos (angle_{first})
        sin_{first} = Sin (angle_{first})
        n{first} = Mul (length_{first}, cos_{first})
        n{second} = Mul (length_{first}, sin_{first})"""


def _body() -> str:
    def constant(name: str, kind: str, value: float) -> str:
        return f"\n        {name} = Constant <value = {kind} {{{value!r}}}> ()"

    return "".join(
        (
            constant("mask", "uint64", 0xFFFFFFFF),
            constant("half_word", "uint64", 32),
            constant("multiplier_0", "uint64", philox.MULTIPLIERS[0]),
            constant("multiplier_1", "uint64", philox.MULTIPLIERS[1]),
            constant("increment_0", "uint64", philox.KEY_INCREMENTS[0]),
            constant("increment_1", "uint64", philox.KEY_INCREMENTS[1]),
            constant("half", "double", 0.5),
            constant("word_unit", "double", 2.0**-32),
            constant("minus_two", "double", -2.0),
            constant("two_pi", "double", 6.283185307179586),
            constant("zero", "int64", 0),
            constant("one", "int64", 1),
            constant("three", "int64", 3),
            constant("four", "int64", 4),
            """
        sample_shape = Constant <value_ints: ints = @shape> ()
        stream_number = Constant <value_int: int = @stream> ()
        count = ReduceProd <keepdims = 0> (sample_shape)
        padded = Add (count, three)
        block_count = Div (padded, four)
        block_range = Range (zero, block_count, one)
        block = Cast <to = 13> (block_range)
        key = Cast <to = 13> (seed)
        k0_0 = BitwiseAnd (key, mask)
        k1_0 = BitShift <direction = "RIGHT"> (key, half_word)
        no_word = Sub (mask, mask)
        c0_0 = Identity (block)
        c1_0 = Cast <to = 13> (stream_number)
        c2_0 = Identity (no_word)
        c3_0 = Identity (no_word)""",
            *(_round(number) for number in range(philox.ROUNDS)),
            *(
                f"""
        word_{i} = Cast <to = 11> (c{i}_{philox.ROUNDS})
        half_up_{i} = Add (word_{i}, half)"""
                for i in range(4)
            ),
            _box_muller(0, 1),
            _box_muller(2, 3),
            """
        last = Constant <value_ints = [-1]> ()
        n0_u = Unsqueeze (n0, last)
        n1_u = Unsqueeze (n1, last)
        n2_u = Unsqueeze (n2, last)
        n3_u = Unsqueeze (n3, last)
        stacked = Concat <axis = -1> (n0_u, n1_u, n2_u, n3_u)
        rows_shape = Constant <value_ints = [0, -1]> ()
        rows = Reshape (stacked, rows_shape)
        starts = Constant <value_ints = [0]> ()
        axes = Constant <value_ints = [1]> ()
        ends = Unsqueeze (count, starts)
        cut = Slice (rows, starts, ends, axes)
        rounded = Cast <to = 1> (cut)
        batch_dim = Shape <start = 0, end = 1> (seed)
        full_shape = Concat <axis = 0> (batch_dim, sample_shape)
        noise = Reshape (rounded, full_shape)""",
        )
    )


SPEC = OpSpec(
    name="PhiloxNormal",
    inputs=(("seed", "int64"),),
    outputs=(("noise", "float"),),
    attributes={"stream": "INT", "shape": "INTS"},
    flops=lambda _: _FLOPS,
    body=_body(),
)
SPECS = (SPEC,)
