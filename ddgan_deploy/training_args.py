"""The published training script's arguments, from a config file or a training state."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ddgan_deploy.errors import InputError


def read_config(path: Path) -> dict[str, Any]:
    """The arguments in a JSON file.

    Raises:
        InputError: the file cannot be read, is no JSON object, or an argument has a wrong type.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give --config a JSON file of training arguments") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): give another --config") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}): give --config a JSON file") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}: give --config a JSON object of training arguments")
    return training_args(content, str(path))


def training_args(content: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Of all arguments those that concern sampling, checked and in our types.

    Args:
        content: argument name -> value.
        source: where they are from, for the error.

    Raises:
        InputError: an argument has a wrong type.
    """
    found: dict[str, Any] = {}
    for name, value in content.items():
        if name not in _KINDS:
            continue
        wanted, convert = _KINDS[name]
        found[name] = convert(value)
        if found[name] is None:
            raise InputError(f"{source}: {name} is {_shown(value)}, it must be {wanted}: correct it")
    return found


def _integer(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < 2**63 else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # Also false for NaN, and for integers that no float can hold.
    return float(value) if abs(value) <= sys.float_info.max else None


def _flag(value: object) -> bool | None:
    return bool(value) if isinstance(value, int) and value in (0, 1) else None


def _text(value: object) -> str | None:
    return value.lower() if isinstance(value, str) else None


def _each(convert: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...] | None]:
    def converted(value: object) -> tuple[Any, ...] | None:
        items = tuple(convert(item) for item in value) if isinstance(value, (list, tuple)) else (None,)
        return None if None in items else items

    return converted


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


_KINDS: dict[str, tuple[str, Callable[[object], Any]]] = {
    name: (wanted, convert)
    for names, wanted, convert in (
        (
            "image_size num_channels num_channels_dae num_res_blocks nz z_emb_dim n_mlp",
            "an integer",
            _integer,
        ),
        ("num_timesteps", "an integer", _integer),
        ("ch_mult attn_resolutions", "a list of integers", _each(_integer)),
        ("fir_kernel", "a list of numbers", _each(_number)),
        ("fir skip_rescale conditional centered not_use_tanh use_geometric", "true or false", _flag),
        ("resblock_type progressive progressive_input progressive_combine", "a text", _text),
        ("embedding_type", "a text", _text),
        ("beta_min beta_max", "a finite number", _number),
    )
    for name in names.split()
}
"""Argument -> what it must be, and its converter, which returns None for anything else."""
