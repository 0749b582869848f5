"""What a user states of a FastGAN generator: its published arguments in a file, and flags.

The published code takes ``noise_mode``, ``truncation_psi`` and ``truncation_cutoff`` for every generator; FastGAN's
ignores them. So they may say only what it does anyway.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import short
from ddgan_deploy.weight_files.json_config import read_json_config

_NAMES = ("noise_mode", "truncation_psi", "truncation_cutoff")
_MOST_SHOWN = 40
"""Characters of a value."""
_NOISE = "random"


def check_asked(asked: Mapping[str, Any], path: Path) -> None:
    """Refuses flags that contradict the network.

    Raises:
        InputError: noise shall be other than random.
    """
    noise = asked.get("noise")
    if noise not in (None, _NOISE):
        raise InputError(
            f"--noise {noise} does not go with {path}, a FastGAN generator, whose noise is random: leave it out"
        )


def check_config(config: Path) -> None:
    """Refuses a config that contradicts the network.

    Args:
        config: a JSON object of the published names.

    Raises:
        InputError: it cannot be read, has an unknown name, or asks for what FastGAN has not.
    """
    for name, value in read_json_config(config).items():
        if name not in _NAMES:
            raise InputError(
                f"{config}: {short(name)} is no argument of a FastGAN generator, it has {', '.join(_NAMES)}: correct it"
            )
        if name == "noise_mode" and value != _NOISE:
            raise InputError(
                f"{config}: noise_mode {_shown(value)} is not what a FastGAN generator does, whose noise is random: "
                f'state "{_NOISE}", or leave it out'
            )
        if name == "truncation_psi" and (isinstance(value, bool) or value != 1):
            raise InputError(
                f"{config}: truncation_psi {_shown(value)} is not what a FastGAN generator does, which truncates "
                "nothing: state 1, or leave it out"
            )
        if name == "truncation_cutoff" and value is not None and (type(value) is not int or value < 0):
            raise InputError(
                f"{config}: truncation_cutoff {_shown(value)} is no number of layers: leave it out, since a FastGAN "
                "generator truncates nothing"
            )


def _shown(value: object) -> str:
    return json.dumps(value)[:_MOST_SHOWN]
