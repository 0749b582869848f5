"""A --config file: the arguments that the published generator is called with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.stylegan2.flags import Noise
from ddgan_deploy.names import short, shown
from ddgan_deploy.weight_files.json_config import read_json_config

NAMES = {"noise_mode": "noise", "truncation_psi": "truncation", "truncation_cutoff": "truncation_cutoff"}
"""Published name -> field of `config.Sampling`."""


def read_arguments(path: Path) -> dict[str, Any]:
    """Fields of `config.Sampling` that a JSON file states.

    Raises:
        InputError: it cannot be read, a name is unknown, or a value has a wrong type.
    """
    found: dict[str, Any] = {}
    for name, value in read_json_config(path).items():
        if name not in NAMES:
            raise InputError(f"{path}: {short(name)} is unknown: give {', '.join(NAMES)}")
        found[NAMES[name]] = _checked(name, value, path)
    return found


def _checked(name: str, value: object, path: Path) -> Any:
    # Also false for NaN, and for integers that no float can hold.
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if name == "noise_mode":
        right, wanted = value in get_args(Noise), f"one of {', '.join(get_args(Noise))}"
    elif name == "truncation_psi":
        right, wanted = number, "a finite number"
    else:
        right, wanted = value is None or (number and isinstance(value, int)), "an integer or null"
    if not right:
        raise InputError(f"{path}: {name} is {shown(value)}, it must be {wanted}: correct it")
    return float(value) if name == "truncation_psi" else value  # type: ignore[arg-type]
