"""A trained checkpoint file -> its family, its architecture and its weights. Nothing in a file is ever executed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_args

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.base import Checkpoint, Family, Given
from ddgan_deploy.families.registry import families, flag_names
from ddgan_deploy.weight_files.kinds import Weights
from ddgan_deploy.weight_files.objects import AVERAGED, Saved
from ddgan_deploy.weight_files.reading import read


def load_checkpoint(
    path: str | Path,
    config: str | Path | None = None,
    weights: Weights = "ema",
    known: Mapping[str, Any] | None = None,
    guessed: Collection[str] = (),
    asked: Mapping[str, Any] | None = None,
) -> Checkpoint[Any, Any]:
    """Reads a checkpoint file, whose family is told by what it holds.

    Args:
        path: a file of the published training code, such as ``netG_<epoch>.pth`` or ``content.pth``, or a
            ``.safetensors`` file with the same keys.
        config: a file with the training script's arguments, for what the weights do not tell.
        weights: of a training state, the exponential moving average or the raw weights.
        known: arguments that hold where neither the config, the file nor its weights say otherwise.
        guessed: names of ``known`` that had been assumed, so that they still are.
        asked: what the user asks of its family alone; see `families.registry.FLAGS`.

    Raises:
        InputError: the file cannot be read, is not such a checkpoint, contradicts the config, or its family is not
            asked such things.
    """
    path = Path(path)
    if weights not in get_args(Weights):
        raise InputError(f"weights {weights!r} is unknown: give {' or '.join(get_args(Weights))}")
    contents = read(path)
    every = list(families())
    claiming = [family for family in every if family.claims(contents)]
    if not claiming:
        _refuse_snapshot(contents, path)
        _refuse_optimizer(contents, path)
        # Of a file of weights alone the first, whose form that is, says what is missing.
        claiming = every[:1]
    if len(claiming) > 1:
        titles = ", ".join(family.title for family in claiming)
        raise InputError(f"{path} could not be told to be one of {titles}: give a file as it was trained")
    given = Given(None if config is None else Path(config), weights, known or {}, guessed, asked or {})
    read_by = claiming[0]
    _refuse_foreign(read_by, path, given.asked)
    return read_by.read(contents, path, given)


def _refuse_snapshot(contents: Mapping[str, Any], path: Path) -> None:
    """Says what a training snapshot lacks.

    Raises:
        InputError: it is one.
    """
    saved = {name: value.kind for name, value in contents.items() if isinstance(value, Saved)}
    if not saved:
        return
    titles = " nor ".join(family.title for family in families())
    if AVERAGED in saved:
        raise InputError(
            f"{path}: its {AVERAGED} is a {saved[AVERAGED]}, and neither {titles}: give a generator's snapshot"
        )
    there = ", ".join(f"{name}, a {kind}" for name, kind in saved.items())
    raise InputError(
        f"{path} holds no {AVERAGED}, the generator's averaged weights, only {there}: give a whole snapshot"
    )


def _refuse_optimizer(contents: Collection[str], path: Path) -> None:
    if {"state", "param_groups"} <= set(contents):
        raise InputError(
            f"{path} is the state of an optimizer, which holds no network: give the weights that were saved beside it, "
            "such as ema_0.9999_<step>.pt or netG_<epoch>.pth"
        )


def _refuse_foreign(family: Family, path: Path, asked: Collection[str]) -> None:
    for name in sorted(set(asked) - flag_names(family.name)):
        raise InputError(f"--{name.replace('_', '-')} does not go with {path}, {family.title}: leave it out")
