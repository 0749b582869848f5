"""A JSON file of arguments -> a dict; what it must hold its family knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import short

_MOST_BYTES = 1 << 20


def read_json_config(path: Path) -> dict[str, Any]:
    """The one JSON object in a file.

    Raises:
        InputError: the file cannot be read, is over a mebibyte, is no JSON, or names an argument twice.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give --config a JSON file of training arguments") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): give another --config") from None
    if len(content) > _MOST_BYTES:
        raise InputError(
            f"{path} is larger than {_MOST_BYTES >> 20} MiB: give --config a JSON file of training arguments"
        )
    try:
        arguments = json.loads(content.decode("utf-8"), object_pairs_hook=_each_once)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}): give --config a JSON file") from None
    if not isinstance(arguments, dict):
        kind = type(arguments).__name__
        raise InputError(f"{path} holds a {kind}: give --config a JSON object of training arguments")
    return arguments


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names must differ."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{short(twice)} stands there more than once: keep one")
    return content
