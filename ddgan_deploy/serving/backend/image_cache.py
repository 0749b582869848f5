"""Images that were drawn lately, by their seeds.

It stands in the process that draws, in place of the response cache of Triton Inference Server 2.51. That one keeps a
refusal as an empty answer to everybody who asks the same later, does not look at the outputs that a request names,
knows a request by a hash of 64 bits, and would keep an answer that the server has taken for another request's.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from ddgan_deploy.errors import InputError
from ddgan_deploy.serving import CACHE_VARIABLE, DEFAULT_CACHE_MIB

Image = npt.NDArray[np.uint8]

BESIDE = 300
"""Bytes that an entry takes beside its pixels, about."""


def cache_bytes() -> int:
    """The size that the environment asks for.

    Raises:
        InputError: it is no number.
    """
    text = os.environ.get(CACHE_VARIABLE, str(DEFAULT_CACHE_MIB))
    if not text.isdecimal():
        raise InputError(f"{CACHE_VARIABLE} {text!r} is no number: give MiB, or 0 for no cache")
    return int(text) << 20


class ImageCache:
    """Keeps images up to a size; those that nobody has asked for the longest give way. For one thread.

    Args:
        size: bytes; 0 keeps nothing.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._images: OrderedDict[int, Image] = OrderedDict()

    def find(self, seeds: Iterable[int]) -> dict[int, Image]:
        """The images [H, W, C] of the seeds that are there."""
        found = {seed: self._images[seed] for seed in seeds if seed in self._images}
        for seed in found:
            self._images.move_to_end(seed)
        return found

    def keep(self, images: Mapping[int, Image]) -> None:
        """Takes up images [H, W, C] of seeds that are not there."""
        for seed, image in images.items():
            # A copy: a part of a batch would hold the whole of it.
            self._images[seed] = image.copy()
            self._used += image.nbytes + BESIDE
        while self._used > self._size:
            _, image = self._images.popitem(last=False)
            self._used -= image.nbytes + BESIDE
