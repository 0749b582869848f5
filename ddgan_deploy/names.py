"""Names of files, and values out of them, as text: what a screen, a log and a shell make of them.

A name may hold any byte but 0 and /.
"""

from __future__ import annotations

import contextlib
import os
import reprlib
import shlex
from collections.abc import Iterator
from pathlib import Path

_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    r"""Text as one line that changes nothing but itself on a screen, and that every encoding of Unicode takes.

    Control characters, line ends and invisible characters become escapes such as ``\n``, ``\x1b`` and ``\u202e``;
    bytes of a name that are no UTF-8, which Python holds as lone surrogates, become ``\xff``.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def short(text: str) -> str:
    """A name as it may stand in a line: quoted, and cut where it is long."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def shown(value: object) -> str:
    """A value out of a file, which may be of any size and depth, in a few words."""
    try:
        text = reprlib.repr(value).replace("\n", " ")
    except (ValueError, RecursionError):  # an integer of thousands of digits
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def quoted(name: object) -> str:
    """A name, or what prints as one, as a word that a shell reads as it is; also one that is not printable."""
    text = str(name)
    if text.isprintable():
        return shlex.quote(text)
    escaped = printable(text.replace("\\", r"\\").replace("'", r"\'"))
    return f"$'{escaped}'"


def recorded(name: str) -> str:
    r"""A name for files of UTF-8: as it is, but for bytes that are not, which become such as ``\xff``."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return _SHORT.get(character, rf"\x{code:02x}")
    if 0xDC80 <= code <= 0xDCFF:
        return rf"\x{code - 0xDC00:02x}"
    return rf"\u{code:04x}" if code < 0x10000 else rf"\U{code:08x}"


@contextlib.contextmanager
def in_utf8(folder: Path) -> Iterator[Path]:
    """The folder by a name in UTF-8 while the block runs: ONNX, ONNX Runtime and OpenVINO take no other."""
    try:
        os.fspath(folder).encode()
    except UnicodeEncodeError:
        handle = os.open(folder, os.O_RDONLY)
    else:
        yield folder
        return
    try:
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
