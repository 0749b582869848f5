"""A --config file: the arguments that the published generator is called with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.stylegan2.flags import Noise
from ddgan_deploy.names import short, shown
from ddgan_deploy.weight_files.json_config import read_json_config
from ddgan_deploy.weight_files.json_values import number

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
    converted: Any = value
    if name == "noise_mode":
        right, wanted = value in get_args(Noise), f"one of {', '.join(get_args(Noise))}"
    elif name == "truncation_psi":
        converted = number(value)
        right, wanted = converted is not None, "a finite number"
    else:
        right, wanted = value is None or (isinstance(value, int) and number(value) is not None), "an integer or null"
    if not right:
        raise InputError(f"{path}: {name} is {shown(value)}, it must be {wanted}: correct it")
    return converted
