"""Names of parameters without what wrappers around a network add to them, and what names say of the weights."""

from __future__ import annotations

import re

from ddgan_deploy.weight_files.kinds import Weights

_WRAPPERS = re.compile(
    r"(?:^|(?<=\.))(?:module|_orig_mod|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
# What follows is searched for in words of small letters with a space between.
_NO = "(?:no|non|not|without|wo|w o|pre|prior|before|un|off|false|none|never|sans|disabled?)"
_AVERAGE = r"(?:emas?\b|avg\b|averag|shadow)"
_ONE_NO = re.compile(rf"\b{_NO}\b")
_ALONE = re.compile(rf"(?:^|\.)({_NO})(?=\.|$)")
_EMA = re.compile(rf"\b{_AVERAGE}|averaged|shadow|\bmoving av")
_NOT_EMA = re.compile(
    # Between the two only words that change nothing.
    rf"\b{_NO} ?(?:(?:an?|the|to|any|use|using|with|in|exp|exponential|moving|running) )*{_AVERAGE}\w*"
    rf"|\b{_AVERAGE}\w* ?(?:(?:off|false|none|disabled|free|less)\b|{_NO}$)"
)
_RAW = re.compile(r"\b(?:raw|online)\b")
_PERHAPS_RAW = re.compile(r"\b(?:current|student)\b")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_IS_ZERO = re.compile(r"(?<=[=:])\s*0(?!\.?\d)")


def plain_name(name: str) -> str:
    """Without those of distributed training, of compilation and the like, wherever they stand."""
    return _WRAPPERS.sub("", name)


def said_of(place: str) -> Weights | None:
    """What the name of a place says of the weights there; None where it says nothing, or both.

    Of names within names, as in ``ema.online_model``, the innermost that says anything decides.

    >>> said_of("ema.netG"), said_of("netG_no_ema"), said_of("netG"), said_of("ema_raw")
    ('ema', 'raw', None, None)
    """
    names = re.split(r"[.\[\]]+", _IS_ZERO.sub("false", place))
    words = ".".join(" ".join(_WORD.findall(name)).lower() for name in names)
    # A name that is nothing but a "no" is one of its neighbours' words.
    words = re.sub(r" \.| $", " ", _ALONE.sub(r" \1 ", words)).strip()
    for name in reversed(words.split(".")):
        rest = _NOT_EMA.sub("", name)
        is_raw = rest != name or _RAW.search(rest)
        is_ema = _EMA.search(rest)
        if _PERHAPS_RAW.search(rest) or (is_ema and (is_raw or _ONE_NO.search(rest))):
            return None
        if is_raw or is_ema:
            return "raw" if is_raw else "ema"
    return None
