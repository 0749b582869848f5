"""Names of parameters, without what wrappers around a network add to them."""

from __future__ import annotations

import re

_WRAPPERS = re.compile(
    r"(?:^|(?<=\.))(?:module|_orig_mod|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
_GENERATOR = re.compile(r"(?:^|(?<=\.))(all_modules|z_transform)\.")
_EMA = re.compile(r"(?i:(?<![a-z])(?:ema|avg)(?![a-z])|shadow|averaged|moving_av)|(?<=[a-z])(?:EMA|Ema)(?![a-z])")


def plain_name(name: str) -> str:
    """Without those of distributed training, of compilation and the like, wherever they stand."""
    return _WRAPPERS.sub("", name)


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


def says_ema(place: str) -> bool:
    """Whether the name of a place says that what is there is a moving average."""
    return _EMA.search(place) is not None
