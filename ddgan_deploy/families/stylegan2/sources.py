"""Whether the source text that a snapshot's objects carry is a published one.

Keys and shapes of weights do not tell it: a generator whose modulated convolution was edited has the same. Only text is
compared, and nothing of it is run. It tells an honest fork from what was published; it is no defence against a text
that is made to look like a published one, for white space does not count.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

A_MIX = "a mix of published sources"
_ADA = {
    "normalize_2nd_moment": "bd80b85eeff97125",
    "modulated_conv2d": "9e5af4c55c758470",
    "FullyConnectedLayer": "fe261d5ed00f2f5b",
    "Conv2dLayer": "02e9ff0d8807aa0b",
    "MappingNetwork": "3fedf6679a05a5d0",
    "SynthesisLayer": "4cf3d18180fef8ee",
    "ToRGBLayer": "91d6f98cc19eec76",
    "SynthesisBlock": "6a75f83350af7d13",
    "SynthesisNetwork": "8748c8eae9b6ec15",
    "Generator": "bd216d486c917aa7",
}
_STYLEGAN3 = {
    **_ADA,
    "FullyConnectedLayer": "4e9ad15ecdd925f1",
    "Conv2dLayer": "0b7aba365efead12",
    "MappingNetwork": "2497e83cd92224f6",
    "SynthesisLayer": "640cd2e4d1cd9e20",
    "ToRGBLayer": "e066f6a1c67ec2ff",
    "SynthesisBlock": "e7cc09a2d8be7a07",
    "SynthesisNetwork": "b111a31a09a8f59c",
    "Generator": "7d464995182dceb8",
}
PUBLISHED = {
    # Equal to diffusion-stylegan2 and diffusion-insgen of Diffusion-GAN.
    "stylegan2-ada-pytorch": _ADA,
    "stylegan3 (networks_stylegan2)": _STYLEGAN3,
    "diffusion-projected-gan (networks_stylegan2)": {**_STYLEGAN3, "SynthesisNetwork": "e6072501fff6ab0a"},
}
"""Source -> definition that the generator uses -> hash, see `_hash`. All of them compute the same."""
NAMES = tuple(_ADA)
_DECORATORS = frozenset({"@misc.profiled_function", "@persistence.persistent_class"})
"""Those of the published sources."""
_BEGINS = re.compile(r"(?:class|def) +(\w+)")
_AT_MODULE_LEVEL = re.compile(r"[^\W\d]|@")
_NAMED = re.compile(rf"\b(?:{'|'.join(NAMES)})\b")
_GLOBAL = re.compile(rf"\bglobal\b[^\n]*?\b({'|'.join(NAMES)})\b")


@dataclass(frozen=True)
class Compared:
    """What source texts are.

    Attributes:
        published: the published source, a key of `PUBLISHED`, whose definitions they have, or `A_MIX`; "" where they
            have none or others.
        differing: names of definitions that are of no published source: they are written differently, are not there
            beside others that are, have another decorator, or are named at the module's level, where they may be
            replaced.
        missing: the texts have none of the definitions: nothing could be compared.
    """

    published: str
    differing: tuple[str, ...]
    missing: bool


def compared(texts: Collection[str]) -> Compared:
    """Compares the definitions that the generator uses with those of the published sources.

    Args:
        texts: of whole Python modules: all that the generator's objects carry.
    """
    found: dict[str, set[str]] = {name: set() for name in NAMES}
    differing = set()
    for text in set(texts):
        hashes, replaced = _definitions(text)
        for name, several in hashes.items():
            found[name] |= several
        if hashes:
            # What a module defines not itself it has from another, which is not at hand.
            differing |= replaced | (set(NAMES) - hashes.keys())
    known = {name: {source[name] for source in PUBLISHED.values()} for name in NAMES}
    differing |= {name for name in NAMES if found[name] - known[name]}
    if not any(found.values()):
        return Compared("", (), missing=True)
    if differing:
        return Compared("", tuple(name for name in NAMES if name in differing), missing=False)
    whole = (title for title, source in PUBLISHED.items() if all(found[name] == {source[name]} for name in NAMES))
    return Compared(next(whole, A_MIX), (), missing=False)


def _definitions(text: str) -> tuple[dict[str, set[str]], set[str]]:
    """Hashes by name, all where one is defined again; and names that something else may be bound to."""
    hashes: dict[str, set[str]] = {}
    replaced = set(_GLOBAL.findall(text))
    decorators: set[str] = set()
    for name, piece in _pieces(text):
        if name in NAMES:
            hashes.setdefault(name, set()).add(_hash(piece))
            if not decorators <= _DECORATORS:
                replaced.add(name)
        if name:
            decorators = set()
        else:
            decorators |= {line.rstrip() for line in piece if line.startswith("@")}
            replaced |= {each for line in piece for each in _NAMED.findall(line)}
    return hashes, replaced


def _pieces(text: str) -> Iterator[tuple[str, list[str]]]:
    """The module's definitions by their names, and, by "", the lines between them."""
    name, piece = "", list[str]()
    for line in text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if _AT_MODULE_LEVEL.match(line):
            yield name, piece
            begins = _BEGINS.match(line)
            name, piece = begins[1] if begins else "", []
        piece.append(_without_comment(line))
    yield name, piece


def _without_comment(line: str) -> str:
    after_quotes = max(line.rfind("'"), line.rfind('"')) + 1
    place = line.find("#", after_quotes)
    return line if place < 0 else line[:place].rstrip(" \t")


def _hash(piece: list[str]) -> str:
    """The first 16 hexadecimal digits of SHA-256 of a definition without its comments and all white space."""
    return hashlib.sha256("".join("".join(piece).split()).encode(errors="surrogatepass")).hexdigest()[:16]
