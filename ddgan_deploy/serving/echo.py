"""An answer tells what it was made from, and whoever hands it on looks.

Triton Inference Server 2.51 was seen to answer a request with what another one had asked for, when a process of its
python backend had stood still for a second. So for each input of a request, such as ``seed``, there is an output,
``drawn_seed``, with the value that the images were really made from; a PNG file has it in its comment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

DRAWN = "drawn_"
"""Before an input's name: the output that tells the value which the answer was made from."""
_COMMENT = re.compile(rb"tEXtComment\0seed (-?\d+) *\Z")
_END = 16
"""Bytes of a PNG file behind its last chunk's content: the checksum, and the chunk that ends the file."""


class WrongAnswerError(Exception):
    """An answer that was made from something else than what was asked for."""


def check(name: str, asked: Sequence[int], drawn: Sequence[int]) -> None:
    """Compares an input of a request with what the answer was made from.

    Raises:
        WrongAnswerError: they differ.
    """
    if list(asked) != list(drawn):
        wanted, got = next((pair for pair in zip(asked, drawn, strict=False) if pair[0] != pair[1]), (asked, drawn))
        raise WrongAnswerError(f"{name} {wanted} came with an image of {name} {got}")


def seed_comment(seed: int) -> bytes:
    """What stands in the comment of a PNG file; blanks may follow."""
    return b"seed %d" % seed


def seed_of_png(file: bytes) -> int | None:
    """The seed that a PNG file says it was drawn from; None: it says nothing."""
    found = _COMMENT.search(file, 0, len(file) - _END)
    return int(found[1]) if found else None
