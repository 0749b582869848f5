"""The weights of a convolution as products of low precision read them (dot.h).

A panel is 32 outputs, a block the 64 bytes of its input channels that stand together at one tap, a word four bytes of
them: uint8 [panels, taps, blocks, 2, 16 words, 16 outputs x 4 bytes]. What fills the last panel and block is zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PANEL, BLOCK, WORD = 32, 64, 4


def packed_weight(weight: npt.NDArray[np.int8] | npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Weights in that order.

    Args:
        weight: [outputs, channels, height, width], int8, or the bits of bfloat16.
    """
    outputs, channels, *kernel = weight.shape
    size = weight.itemsize
    panels, blocks = -(-outputs // PANEL), -(-channels * size // BLOCK)
    taps, in_block, in_word = int(np.prod(kernel)), BLOCK // size, WORD // size
    whole = np.zeros((panels * PANEL, taps, blocks * in_block), weight.dtype)
    whole[:outputs, :, :channels] = weight.reshape(outputs, channels, taps).transpose(0, 2, 1)
    # From here on words are moved, not elements.
    words = whole.view(np.uint32).reshape(panels, 2, PANEL // 2, taps, blocks, in_block // in_word)
    return np.ascontiguousarray(words.transpose(0, 3, 4, 1, 5, 2)).view(np.uint8)


def bfloat16_bits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """float32 rounded to the nearest bfloat16, ties to even; finite values alone."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
