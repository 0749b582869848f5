"""The names of a generator's weights in a file: where it begins, and what they are called in itself."""

from __future__ import annotations

import re

from ddgan_deploy.weight_files.names import plain_name

_GENERATOR = re.compile(r"(?:^|(?<=\.))(all_modules|z_transform)\.")


def root_of(name: str) -> tuple[str, str] | None:
    """Where in a file a generator begins, and which of its two parts this is; None for other parameters.

    >>> root_of("netG.all_modules.0.weight")
    ('netG.', 'all_modules')
    """
    match = _GENERATOR.search(name)
    return (name[: match.start()], match[1]) if match else None


def own_name(name: str) -> str:
    """A parameter's name in its generator, without what is in front of it."""
    plain = plain_name(name)
    root = root_of(plain)
    return plain.removeprefix(root[0]) if root else plain
