"""Philox4x32-10, Box-Muller and bounded integers in NumPy: the one definition of what a seed draws.

Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
A counter-based generator: any element of any stream is a pure function of
(seed, stream, index), so a seed gives the same noise alone, in a batch, and on
every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
_MASK = np.uint64(0xFFFFFFFF)
_HALF_WORD = np.uint64(32)

UInt64 = npt.NDArray[np.uint64]
_Value = TypeVar("_Value", bound=np.generic)


def philox4x32(counter: Sequence[npt.ArrayLike], key: Sequence[npt.ArrayLike]) -> tuple[UInt64, UInt64, UInt64, UInt64]:
    """Ten rounds of Philox4x32.

    Args:
        counter: four arrays of 32-bit words, broadcast against each other and the key.
        key: two arrays of 32-bit words.

    Returns:
        Four uint64 arrays that hold 32-bit words.
    """
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = (np.asarray(word, np.uint64) for word in key)
    for _ in range(ROUNDS):
        product0, product1 = c0 * np.uint64(MULTIPLIERS[0]), c2 * np.uint64(MULTIPLIERS[1])
        c0, c1, c2, c3 = (
            (product1 >> _HALF_WORD) ^ c1 ^ k0,
            product1 & _MASK,
            (product0 >> _HALF_WORD) ^ c3 ^ k1,
            product0 & _MASK,
        )
        k0, k1 = (k0 + np.uint64(KEY_INCREMENTS[0])) & _MASK, (k1 + np.uint64(KEY_INCREMENTS[1])) & _MASK
    return c0, c1, c2, c3


def normal(seeds: npt.ArrayLike, stream: int, shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Standard normal values of one stream, for each seed.

    The key is the seed's low and high 32 bits, the counter (block, stream, 0, 0).
    Block i gives elements 4i..4i+3 in C order: u = (word + 0.5) * 2**-32, then
    Box-Muller on (u0, u1) and (u2, u3), in float64, rounded once to float32.

    Args:
        seeds: [N] integers; read as unsigned 64-bit, so -1 and 2**64 - 1 are one seed.
        stream: the stream's number, 0..2**32-1.
        shape: shape of one sample.

    Returns:
        float32 [N, *shape].
    """
    words = _words(seeds, stream, shape)
    u0, u1, u2, u3 = ((word.astype(np.float64) + 0.5) * 2.0**-32 for word in words)
    values = np.empty((*u0.shape, 4), np.float64)
    for pair, (radius, angle) in enumerate(((u0, u1), (u2, u3))):
        length = np.sqrt(-2.0 * np.log(radius))
        values[..., 2 * pair] = length * np.cos(2.0 * np.pi * angle)
        values[..., 2 * pair + 1] = length * np.sin(2.0 * np.pi * angle)
    return _cut(values.astype(np.float32), shape)


def integers(seeds: npt.ArrayLike, stream: int, shape: Sequence[int], below: int) -> npt.NDArray[np.int64]:
    """Integers from 0 to ``below`` - 1, for each seed.

    Key and counter are those of `normal`. Word w of block i gives element 4i + w in C order: floor(word below / 2**32)
    (Lemire 2019, "Fast random integer generation in an interval"); of two integers' chances one is the larger by
    a share of below / 2**32 at most.

    Args:
        seeds, stream, shape: as of `normal`.
        below: 1..2**31.

    Returns:
        int64 [N, *shape].

    Raises:
        ValueError: below is not 1..2**31.
    """
    if not 1 <= below <= 2**31:
        raise ValueError(f"PhiloxInteger: below is {below}, it must be 1..{2**31}")
    words = np.stack(_words(seeds, stream, shape), axis=-1)
    return _cut((words * np.uint64(below) >> _HALF_WORD).astype(np.int64), shape)


def _words(seeds: npt.ArrayLike, stream: int, shape: Sequence[int]) -> tuple[UInt64, UInt64, UInt64, UInt64]:
    """The words of each block, [N, blocks] each."""
    keys = np.asarray(seeds).astype(np.int64).reshape(-1, 1).view(np.uint64)
    blocks = np.arange((math.prod(shape) + 3) // 4, dtype=np.uint64)[None, :]
    return philox4x32((blocks, stream, 0, 0), (keys & _MASK, keys >> _HALF_WORD))


def _cut(values: npt.NDArray[_Value], shape: Sequence[int]) -> npt.NDArray[_Value]:
    """[N, blocks, 4] -> [N, *shape]; the last block may have more than is needed."""
    rows = values.reshape(len(values), values.shape[1] * 4)[:, : math.prod(shape)]
    return rows.reshape(len(values), *shape)
