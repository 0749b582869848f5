"""The pieces of a bundle: how files become pieces of a given size, and how a piece is read. Standard library alone.

A piece is a file of two lines of text and then bytes:

    ddgan-gpu-bundle 1 IDENTIFIER NUMBER
    CONTENTS
    …

CONTENTS is JSON: what the whole bundle holds, the same line in all its pieces. IDENTIFIER is the SHA-256 of that line.
The bytes are the parts that CONTENTS gives to this NUMBER, in the order in which they stand there; each has a SHA-256.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FORMAT = "ddgan-gpu-bundle 1"
SUFFIX = ".piece"
FOLDERS = ("src", "src/build/onnxruntime-headers", "site")
"""Where an item's archive may be unpacked, below the home."""
_LINE = 1 << 20
"""Characters of a line, at most; contents of some ten items take some 10,000."""
_BLOCK = 1 << 20


class BundleError(ValueError):
    """What was given is wrong; the message is one line that names it and the fix (exit code 2)."""


@dataclass(frozen=True)
class Part:
    """Some bytes of an item: in which piece, how many, and their SHA-256 in hexadecimal."""

    piece: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Item:
    """One archive in the form of zip: a wheel, or files of ours.

    Attributes:
        name: of the package, unique in a bundle.
        version: as people read it.
        into: one of `FOLDERS`.
        size: bytes of the archive.
        sha256: of the archive, in hexadecimal.
        parts: in their order; together they are the archive.
    """

    name: str
    version: str
    into: str
    size: int
    sha256: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Contents:
    """What a bundle holds: ``line`` is what its pieces say, ``identifier`` its SHA-256 in hexadecimal."""

    line: str
    identifier: str
    items: tuple[Item, ...]

    @property
    def pieces(self) -> int:
        """How many there are; they count from 1."""
        return max(part.piece for item in self.items for part in item.parts)

    def parts_of(self, piece: int) -> tuple[tuple[Item, Part], ...]:
        """Whose they are and which, in the order in which they stand in the piece."""
        return tuple((item, part) for item in self.items for part in item.parts if part.piece == piece)


@dataclass(frozen=True)
class Source:
    """An archive that is to go into a bundle; see `Item`.

    Attributes:
        apart: it begins a piece of its own, so that its parts stay the same when what is before it changes.
    """

    name: str
    version: str
    into: str
    path: Path
    apart: bool = False


def write_pieces(sources: Sequence[Source], folder: Path, limit: int) -> Contents:
    """Writes the pieces of a bundle into a folder.

    Args:
        limit: bytes of a piece, at most.

    Raises:
        BundleError: so small a piece has no room for what stands in front of its bytes.
    """
    layout, head = _layout(sources, limit, 0), 0
    # The more room the contents take, the more parts there are, and the longer they are.
    while (needed := len(_first_line("0" * 64, 10**6)) + len(layout.line.encode()) + 1) > head:
        head = needed
        if head >= limit:
            raise BundleError(f"pieces of {limit} bytes have no room for a bundle's contents: make them larger")
        layout = _layout(sources, limit, head)
    contents = read_contents(_with_hashes(layout, sources))
    with contextlib.ExitStack() as opened:
        streams = {source.name: opened.enter_context(source.path.open("rb")) for source in sources}
        for piece in range(1, contents.pieces + 1):
            name = f"ddgan-gpu-{piece:02}-of-{contents.pieces:02}{SUFFIX}"
            with (folder / name).open("wb") as file:
                file.write((_first_line(contents.identifier, piece) + contents.line + "\n").encode())
                for item, part in contents.parts_of(piece):
                    file.writelines(_blocks(streams[item.name], part.size))
    return contents


def _layout(sources: Sequence[Source], limit: int, head: int) -> Contents:
    """Which bytes go into which piece, with hashes that are yet to be filled in."""
    piece, room, items = 1, limit - head, []
    for source in sources:
        if source.apart and room < limit - head:
            piece, room = piece + 1, limit - head
        size = left = source.path.stat().st_size
        parts = []
        while left or not parts:
            if not room:
                piece, room = piece + 1, limit - head
            taken = min(left, room)
            parts.append(Part(piece, taken, "0" * 64))
            left, room = left - taken, room - taken
        items.append(Item(source.name, source.version, source.into, size, "0" * 64, tuple(parts)))
    return Contents(_line(items), "", tuple(items))


def _with_hashes(layout: Contents, sources: Sequence[Source]) -> str:
    items = []
    for item, source in zip(layout.items, sources, strict=True):
        whole, parts = hashlib.sha256(), []
        with source.path.open("rb") as file:
            for part in item.parts:
                own = hashlib.sha256()
                for block in _blocks(file, part.size):
                    own.update(block)
                    whole.update(block)
                parts.append(Part(part.piece, part.size, own.hexdigest()))
        items.append(Item(item.name, item.version, item.into, item.size, whole.hexdigest(), tuple(parts)))
    return _line(items)


def _line(items: Sequence[Item]) -> str:
    return json.dumps([asdict(item) for item in items], separators=(",", ":"))


def _first_line(identifier: str, piece: int) -> str:
    return f"{FORMAT} {identifier} {piece}\n"


def _blocks(file: Any, size: int) -> Iterator[bytes]:
    """So many bytes of a file, or what it has of them."""
    while size and (block := file.read(min(size, _BLOCK))):
        size -= len(block)
        yield block


@dataclass(frozen=True)
class Piece:
    """A piece whose two lines have been read; its bytes begin at ``start``."""

    path: Path
    contents: Contents
    number: int
    start: int

    def parts(self) -> Iterator[tuple[Part, Iterator[bytes]]]:
        """Each part and its bytes; nothing has been checked but their number."""
        position = self.start
        with self.path.open("rb") as file:
            for _, part in self.contents.parts_of(self.number):
                # Whoever left a part half read gets the next one from its beginning all the same.
                file.seek(position)
                yield part, _blocks(file, part.size)
                position += part.size


def open_piece(path: Path) -> Piece:
    """Reads what a piece says of itself and of its bundle.

    Raises:
        BundleError: it is damaged, cut, or of another format; the message names it.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        first, line = file.readline(_LINE), file.readline(_LINE)
        start = file.tell()
        size = file.seek(0, 2)
    found = re.fullmatch(rb"ddgan-gpu-bundle (\d+) .*\n", first)
    if found and found[1] != FORMAT.split()[1].encode():
        raise BundleError(f"{path} is of format {found[1].decode()}: unpack it by the gpu_machine.sh beside it")
    head = re.fullmatch(rf"{FORMAT} ([0-9a-f]{{64}}) (\d{{1,6}})\n".encode(), first)
    if head is None or hashlib.sha256(line.removesuffix(b"\n")).hexdigest().encode() != head[1]:
        raise BundleError(f"{path} is damaged, or no piece of a bundle: bring it again")
    try:
        contents = read_contents(line.decode().removesuffix("\n"))
    except BundleError as error:
        raise BundleError(f"{path} {error}: make the bundle anew") from None
    number = int(head[2])
    parts = contents.parts_of(number)
    expected = sum(part.size for _, part in parts)
    if not parts or size - start > expected:
        raise BundleError(f"{path} is damaged: bring it again")
    if size - start < expected:
        raise BundleError(f"{path} is cut, {expected - size + start} bytes are missing: bring it again")
    return Piece(path, contents, number, start)


def read_contents(line: str) -> Contents:
    """Raises `BundleError` where it is not what `write_pieces` writes, in a clause for the end of a message."""
    try:
        items = tuple(_read_item(item) for item in json.loads(line))
    except (TypeError, KeyError, ValueError, RecursionError):
        raise BundleError("has contents that cannot be read") from None
    if not items or len({item.name for item in items}) < len(items):
        raise BundleError("has contents that cannot be read")
    return Contents(line, hashlib.sha256(line.encode()).hexdigest(), items)


def _read_item(given: dict[str, Any]) -> Item:
    item = Item(**{**given, "parts": tuple(Part(**part) for part in given["parts"])})
    numbers = [item.size, *(number for part in item.parts for number in (part.size, part.piece))]
    hashes = [item.sha256, *(part.sha256 for part in item.parts)]
    if not (
        all(type(number) is int and 0 <= number < 1 << 50 for number in numbers)
        and all(re.fullmatch(r"[0-9a-f]{64}", each) for each in hashes)
        and all(re.fullmatch(r"[A-Za-z0-9][\w.+ -]{0,99}", each, re.A) for each in (item.name, item.version))
        and all(0 < part.piece < 10**6 for part in item.parts)
        and item.into in FOLDERS
        and item.parts
        and sum(part.size for part in item.parts) == item.size
    ):
        raise ValueError
    return item
