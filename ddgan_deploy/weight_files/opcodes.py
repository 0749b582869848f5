"""What the opcodes of a pickle tell before anything is built by them."""

from __future__ import annotations

import pickletools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from encodings import normalize_encoding
from typing import BinaryIO

from ddgan_deploy.errors import InputError

MAX_DEPTH = 100
_TO_BYTES = "_codecs encode"
_FROM_BYTES_TO_BYTES = frozenset(
    {"base64", "base_64", "bz2", "hex", "quopri", "quoted_printable", "quotedprintable", "uu", "zip", "zlib"}
)
"""Codecs that, one after the other, make gigabytes of a few bytes."""


@dataclass(frozen=True)
class Told:
    """What pickles tell.

    Attributes:
        texts: all in them, the names of globals ("module name") among them.
        protocol: the highest.
    """

    texts: frozenset[str]
    protocol: int


def told(pickles: Iterable[BinaryIO]) -> Told:
    """Reads pickles up to their ends.

    Raises:
        InputError: to build what is in them could take any memory, or any depth of the stack.
        Exception: of almost any type, where they are damaged.
    """
    texts: set[str] = set()
    protocol = 0
    for file in pickles:
        for opcode, argument in _checked_for_depth(file):
            if isinstance(argument, str):
                texts.add(argument)
            elif opcode.name == "PROTO" and isinstance(argument, int):
                protocol = max(protocol, argument)
    if _TO_BYTES in texts and any(map(_is_of_bytes_to_bytes, texts)):
        raise InputError("holds texts that would be encoded as no text is: give a netG_<epoch>.pth or content.pth")
    return Told(frozenset(texts), protocol)


def _is_of_bytes_to_bytes(text: str) -> bool:
    name = normalize_encoding(text).lower() if text.isascii() else ""
    return name.removesuffix("_codec") in _FROM_BYTES_TO_BYTES


def _checked_for_depth(file: BinaryIO) -> Iterator[tuple[pickletools.OpcodeInfo, object]]:
    """The opcodes; tuples nested deeply end the process where one is a key, as their hash is computed in C."""
    stack: list[int] = []
    outer: list[list[int]] = []
    memo: dict[object, int] = {}
    for opcode, argument, _ in pickletools.genops(file):
        yield opcode, argument
        if opcode.name == "MARK":
            outer.append(stack)
            stack = []
        elif opcode.name.endswith(("PUT", "MEMOIZE")):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif opcode.name.endswith("GET"):
            stack.append(memo[argument])
        else:
            count = len(opcode.stack_before)
            inside = stack[len(stack) - count :]
            if pickletools.markobject in opcode.stack_before:
                inside, stack = stack, outer.pop()
                count = opcode.stack_before.index(pickletools.markobject)
            del stack[len(stack) - count :]
            depth = 1 + max(inside, default=0) if opcode.name.startswith("TUPLE") else 0
            if depth > MAX_DEPTH:
                raise InputError(f"holds tuples nested more than {MAX_DEPTH} deep: save a copy without them")
            stack += [depth] * len(opcode.stack_after)
