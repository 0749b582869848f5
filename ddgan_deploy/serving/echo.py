"""An answer tells what it was made from, and whoever hands it on looks.

Triton Inference Server 2.51 was seen to answer a request with what another one had asked for, when a process of its
python backend had stood still for a second. So for each input of a request, such as ``seed``, there is an output,
``drawn_seed``, with the value that the images were really made from; a PNG file has all of them in its comment.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Values = Mapping[str, npt.NDArray[Any]]
"""The inputs of a request by their names, ``seed`` first; [n, ...] each."""
SEED = "seed"
DRAWN = "drawn_"
"""Before an input's name: the output that tells the value which the answer was made from."""
_COMMENT = re.compile(rb"tEXtComment\0(seed -?\d+[^\0]*?) *\Z")
_END = 16
"""Bytes of a PNG file behind its last chunk's content: the checksum, and the chunk that ends the file."""


class WrongAnswerError(Exception):
    """An answer that was made from something else than what was asked for."""


def drawn(tensors: Values) -> dict[str, npt.NDArray[Any]]:
    """The inputs that an answer tells, by their names."""
    return {name.removeprefix(DRAWN): value for name, value in tensors.items() if name.startswith(DRAWN)}


def check(asked: Values, told: Values) -> None:
    """Compares a request with what its answer was made from.

    Args:
        asked: all inputs of the request.
        told: those that the answer tells.

    Raises:
        WrongAnswerError: one differs.
    """
    for name, value in told.items():
        wanted = asked[name]
        if value.shape != wanted.shape:
            raise WrongAnswerError(f"{name} {list(wanted.shape)} came with images of {name} {list(value.shape)}")
        wrong = np.flatnonzero((value != wanted).reshape(len(value), -1).any(axis=1))
        if wrong.size:
            at = wrong[0]
            raise WrongAnswerError(f"{name} {_text(wanted[at])} came with an image of {name} {_text(value[at])}")


def comments(asked: Values) -> list[str]:
    """What stands in the comments of the PNG files of a request, such as "seed 3, label 7"; blanks may follow."""
    return [
        ", ".join(f"{name} {_text(value)}" for name, value in zip(asked, row, strict=True))
        for row in zip(*asked.values(), strict=True)
    ]


def comment_of_png(file: bytes) -> str | None:
    """What a PNG file says that it was drawn from; None: it says nothing."""
    found = _COMMENT.search(file, 0, len(file) - _END)
    return found[1].decode("latin-1") if found else None


def _text(value: npt.NDArray[Any]) -> str:
    """One image's value: a number as it is, of a picture a hash."""
    if value.size != 1:
        return f"sha256:{hashlib.sha256(value.tobytes()).hexdigest()[:16]}"
    return str(value.ravel()[0])
