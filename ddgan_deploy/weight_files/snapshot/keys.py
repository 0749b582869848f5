"""Keys of the dicts in a pickle: a hash can take long, and a million keys can be made to have the same."""

from __future__ import annotations

from typing import Any

from ddgan_deploy.weight_files.objects import Named, Saved

_MAX_KEY = (1 << 61) - 2
"""Integers up to here have hashes of their own, so that a dict of them stays fast."""
_MAX_KEYS_IN_TUPLE = 16
_KEYS = (str, int, float, bool, bytes, type(None))


def as_key(key: Any, offset: int) -> Any:
    """The key of a dict itself, or, where to hash it could take long or is not possible, an object that holds it."""
    if isinstance(key, Saved | Named) or _is_quick(key):
        return key
    if type(key) is tuple and len(key) <= _MAX_KEYS_IN_TUPLE and all(map(_is_quick, key)):
        return key
    return Saved(f"builtins.{type(key).__name__}", offset, arguments=(key,))


def _is_quick(key: object) -> bool:
    return type(key) in _KEYS and not (isinstance(key, int) and abs(key) > _MAX_KEY)
