"""Images that were drawn lately, by their seeds and knobs.

It stands in the process that draws, in place of the response cache of Triton Inference Server 2.51. That one keeps a
refusal as an empty answer to everybody who asks the same later, does not look at the outputs that a request names,
knows a request by a hash of 64 bits, and would keep an answer that the server has taken for another request's.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ddgan_deploy.errors import InputError
from ddgan_deploy.serving import CACHE_VARIABLE, DEFAULT_CACHE_MIB

Image = npt.NDArray[np.uint8]
Key = bytes
"""What an image is drawn from."""

BESIDE = 300
"""Bytes that an entry takes beside its pixels, about."""
_LONGEST_KEY = 64
"""Bytes; of a picture's a hash serves. All keys of a model are of one kind, since its inputs are."""


def keys(inputs: Mapping[str, npt.NDArray[Any]]) -> list[Key]:
    """A key for each row of a request's inputs [n, ...], which are always in one order."""
    parts = ([row.tobytes() for row in value] for value in inputs.values())
    return [_key(b"".join(row)) for row in zip(*parts, strict=True)]


def _key(data: bytes) -> Key:
    return data if len(data) <= _LONGEST_KEY else hashlib.sha256(data).digest()


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
        self._images: OrderedDict[Key, Image] = OrderedDict()

    def find(self, wanted: Iterable[Key]) -> dict[Key, Image]:
        """Of the images [H, W, C] that are wanted those that are there."""
        found = {key: self._images[key] for key in wanted if key in self._images}
        for key in found:
            self._images.move_to_end(key)
        return found

    def keep(self, images: Mapping[Key, Image]) -> None:
        """Takes up images [H, W, C] that are not there."""
        for key, image in images.items():
            # A copy: a part of a batch would hold the whole of it.
            self._images[key] = image.copy()
            self._used += image.nbytes + BESIDE
        while self._used > self._size:
            _, image = self._images.popitem(last=False)
            self._used -= image.nbytes + BESIDE
