"""The function bodies of the Philox ops, in ONNX text: `philox` by ONNX's own operations.

32-bit words are held in int64: the product of two is right modulo 2**64, and so has the bits of the unsigned one. Only
the shift that takes its upper word is of uint64, since ONNX has none for signed numbers. Values after that are float64.

What ONNX Runtime's CPU provider lacks in older versions is not used: Mul of uint64 (which 1.20 does not have), and
Cos of float64 (from 1.29 on).
"""

from __future__ import annotations

from . import philox


def _constant(name: str, kind: str, value: float) -> str:
    return f"\n        {name} = Constant <value = {kind} {{{value!r}}}> ()"


def _round(number: int) -> str:
    """One Philox round, from words c0..c3 and keys k0, k1 of this round to those of the next."""
    now, then = number, number + 1
    return f"""
        p0_{now} = Mul (c0_{now}, multiplier_0)
        p1_{now} = Mul (c2_{now}, multiplier_1)
        bits0_{now} = Cast <to = 13> (p0_{now})
        bits1_{now} = Cast <to = 13> (p1_{now})
        shifted0_{now} = BitShift <direction = "RIGHT"> (bits0_{now}, half_word)
        shifted1_{now} = BitShift <direction = "RIGHT"> (bits1_{now}, half_word)
        high0_{now} = Cast <to = 7> (shifted0_{now})
        high1_{now} = Cast <to = 7> (shifted1_{now})
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


STREAM_ATTRIBUTE = """
        stream_number = Constant <value_int: int = @stream> ()"""
STREAM_INPUT = """
        stream_number = Identity (stream)"""


def words(stream: str) -> str:
    """``seed`` and ``stream_number`` -> word_0..word_3 [N, blocks], int64, for the attribute ``shape``."""
    return "".join(
        (
            _constant("mask", "int64", 0xFFFFFFFF),
            _constant("half_word", "uint64", 32),
            _constant("multiplier_0", "int64", philox.MULTIPLIERS[0]),
            _constant("multiplier_1", "int64", philox.MULTIPLIERS[1]),
            _constant("increment_0", "int64", philox.KEY_INCREMENTS[0]),
            _constant("increment_1", "int64", philox.KEY_INCREMENTS[1]),
            _constant("zero", "int64", 0),
            _constant("one", "int64", 1),
            _constant("three", "int64", 3),
            _constant("four", "int64", 4),
            stream,
            """
        sample_shape = Constant <value_ints: ints = @shape> ()
        count = ReduceProd <keepdims = 0> (sample_shape)
        padded = Add (count, three)
        block_count = Div (padded, four)
        block = Range (zero, block_count, one)
        k0_0 = BitwiseAnd (seed, mask)
        key_bits = Cast <to = 13> (seed)
        key_high = BitShift <direction = "RIGHT"> (key_bits, half_word)
        k1_0 = Cast <to = 7> (key_high)
        c0_0 = Identity (block)
        c1_0 = BitwiseAnd (stream_number, mask)
        c2_0 = Identity (zero)
        c3_0 = Identity (zero)""",
            *(_round(number) for number in range(philox.ROUNDS)),
            *(f"\n        word_{i} = Identity (c{i}_{philox.ROUNDS})" for i in range(4)),
        )
    )


def _box_muller(first: int, second: int) -> str:
    """Two normal values from two words.

    cos 2πu is sin 2π(|u - 1/2| - 1/4), whose argument is exact up to the product by 2π: next to the zeros
    of the cosine no bits are lost.
    """
    return f"""
        u{first} = Mul (half_up_{first}, word_unit)
        u{second} = Mul (half_up_{second}, word_unit)
        log_{first} = Log (u{first})
        square_{first} = Mul (log_{first}, minus_two)
        length_{first} = Sqrt (square_{first})
        angle_{first} = Mul (u{second}, two_pi)
        sin_{first} = Sin (angle_{first})
        centred_{first} = Sub (u{second}, half)
        folded_{first} = Abs (centred_{first})
        turned_{first} = Sub (folded_{first}, quarter)
        turned_angle_{first} = Mul (turned_{first}, two_pi)
        cos_{first} = Sin (turned_angle_{first})
        wide_{first} = Mul (length_{first}, cos_{first})
        wide_{second} = Mul (length_{first}, sin_{first})
        value_{first} = Cast <to = 1> (wide_{first})
        value_{second} = Cast <to = 1> (wide_{second})"""


def normals() -> str:
    """word_0..word_3 -> value_0..value_3 [N, blocks], float32."""
    return "".join(
        (
            _constant("half", "double", 0.5),
            _constant("quarter", "double", 0.25),
            _constant("word_unit", "double", 2.0**-32),
            _constant("minus_two", "double", -2.0),
            _constant("two_pi", "double", 6.283185307179586),
            *(
                f"""
        float_{i} = Cast <to = 11> (word_{i})
        half_up_{i} = Add (float_{i}, half)"""
                for i in range(4)
            ),
            _box_muller(0, 1),
            _box_muller(2, 3),
        )
    )


def integers() -> str:
    """word_0..word_3 -> value_0..value_3 [N, blocks], int64 from 0 to the attribute ``below`` - 1."""
    return (
        """
        below_number = Constant <value_int: int = @below> ()"""
    ) + "".join(
        f"""
        scaled_{i} = Mul (word_{i}, below_number)
        bits_{i} = Cast <to = 13> (scaled_{i})
        high_{i} = BitShift <direction = "RIGHT"> (bits_{i}, half_word)
        value_{i} = Cast <to = 7> (high_{i})"""
        for i in range(4)
    )


def in_order(output: str) -> str:
    """value_0..value_3 [N, blocks] -> the output [N, *shape]."""
    return f"""
        last = Constant <value_ints = [-1]> ()
        value_0_u = Unsqueeze (value_0, last)
        value_1_u = Unsqueeze (value_1, last)
        value_2_u = Unsqueeze (value_2, last)
        value_3_u = Unsqueeze (value_3, last)
        stacked = Concat <axis = -1> (value_0_u, value_1_u, value_2_u, value_3_u)
        rows_shape = Constant <value_ints = [0, -1]> ()
        rows = Reshape (stacked, rows_shape)
        starts = Constant <value_ints = [0]> ()
        axes = Constant <value_ints = [1]> ()
        ends = Unsqueeze (count, starts)
        cut = Slice (rows, starts, ends, axes)
        batch_dim = Shape <start = 0, end = 1> (seed)
        full_shape = Concat <axis = 0> (batch_dim, sample_shape)
        {output} = Reshape (cut, full_shape)"""
