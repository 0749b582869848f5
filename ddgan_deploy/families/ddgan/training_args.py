"""The published training script's arguments, from a config file or a training state."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.argument_names import refuse_other_networks, refuse_unknown
from ddgan_deploy.names import shown
from ddgan_deploy.weight_files.json_config import read_json_config
from ddgan_deploy.weight_files.json_values import flag, integer, number

_PICKLES = (b"PK", b"\x80")
"""How PyTorch's files begin, the newer ones and the older."""


def read_config(path: Path) -> dict[str, Any]:
    """The arguments in a JSON file, or in a training state.

    Args:
        path: a JSON object of arguments, whose names must all be known, or a ``content.pth``.

    Raises:
        InputError: the file cannot be read or has no arguments, a name is unknown or of a network that gives no
            pictures, or a value has a wrong type.
    """
    if _is_pickle(path):
        return _of_training_state(path)
    arguments = read_json_config(path)
    refuse_other_networks(arguments, str(path))
    refuse_unknown(arguments, str(path))
    return training_args(arguments, str(path))


def _is_pickle(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2).startswith(_PICKLES)
    except OSError:
        # Whoever reads it as JSON says what is wrong.
        return False


def own_arguments(args: object, path: Path, stated: Collection[str] = ()) -> dict[str, Any]:
    """The arguments that a training state holds; none where it holds none.

    Names that are unknown pass, since a script has written them.

    Args:
        args: what the file holds as such.
        path: of it.
        stated: names that a config states, so that what the file has under them may be of any type.

    Raises:
        InputError: an argument is of a network that gives no pictures, or has a wrong type.
    """
    arguments = vars(args) if isinstance(args, argparse.Namespace) else args
    if not isinstance(arguments, dict):
        return {}
    named = {name: value for name, value in arguments.items() if isinstance(name, str)}
    refuse_other_networks(named, f"{path} (args)")
    try:
        return training_args(named, f"{path} (args)", stated)
    except InputError as error:
        raise InputError(f"{error}, by stating it in --config") from None


def _of_training_state(path: Path) -> dict[str, Any]:
    # Here PyTorch is imported.
    from ddgan_deploy.families.ddgan.weights import ARGUMENTS
    from ddgan_deploy.weight_files.reading import read

    content = read(path)
    arguments = own_arguments(next((content[name] for name in ARGUMENTS if name in content), None), path)
    if not arguments:
        raise InputError(f"{path} holds no training arguments: give --config the run's content.pth, or a JSON file")
    return arguments


def training_args(content: Mapping[str, Any], source: str, stated: Collection[str] = ()) -> dict[str, Any]:
    """Of all arguments those that concern sampling, checked and in our types.

    Args:
        content: argument name -> value.
        source: where they are from, for the error.
        stated: names whose values are left out where they have a wrong type.

    Raises:
        InputError: an argument has a wrong type.
    """
    found: dict[str, Any] = {}
    for name, value in content.items():
        if name not in _KINDS:
            continue
        wanted, convert = _KINDS[name]
        converted = convert(value)
        if converted is not None:
            found[name] = converted
        elif name not in stated:
            raise InputError(f"{source}: {name} is {shown(value)}, it must be {wanted}: correct it")
    return found


def _text(value: object) -> str | None:
    return value.lower() if isinstance(value, str) else None


def _each(convert: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...] | None]:
    def converted(value: object) -> tuple[Any, ...] | None:
        items = tuple(convert(item) for item in value) if isinstance(value, (list, tuple)) else (None,)
        return None if None in items else items

    return converted


_KINDS: dict[str, tuple[str, Callable[[object], Any]]] = {
    name: (wanted, convert)
    for names, wanted, convert in (
        (
            "image_size num_channels num_channels_dae num_res_blocks nz z_emb_dim n_mlp",
            "an integer",
            integer,
        ),
        ("num_timesteps", "an integer", integer),
        ("ch_mult attn_resolutions", "a list of integers", _each(integer)),
        ("fir_kernel", "a list of numbers", _each(number)),
        ("fir skip_rescale conditional centered not_use_tanh use_geometric", "true or false", flag),
        ("resblock_type progressive progressive_input progressive_combine", "a text", _text),
        ("embedding_type", "a text", _text),
        ("beta_min beta_max", "a finite number", number),
    )
    for name in names.split()
}
"""Argument -> what it must be, and its converter, which returns None for anything else."""
