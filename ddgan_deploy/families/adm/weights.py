"""Weights as the published code saves them: their names, their shapes, and which of a training they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import short
from ddgan_deploy.weight_files.kinds import Kind, Weights
from ddgan_deploy.weight_files.names import plain_name
from ddgan_deploy.weight_files.tensors import as_float32, checked_tensors

if TYPE_CHECKING:
    import torch


def plain_weights(contents: Mapping[str, Any], path: Path) -> dict[str, torch.Tensor]:
    """As they are stored, under their published names.

    Raises:
        InputError: a name is there twice, or something is no weight.
    """
    plain: dict[str, Any] = {}
    for name, value in contents.items():
        if plain_name(name) in plain:
            raise InputError(
                f"{path} holds {short(plain_name(name))} twice, with and without a prefix: keep one network"
            )
        plain[plain_name(name)] = value
    return checked_tensors(plain, path)


def shapes_of(weights: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """By name."""
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def in_float32(weights: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """The weights in float32.

    Raises:
        InputError: one is no floating point, or not finite.
    """
    return {name: as_float32(weight, name, path) for name, weight in weights.items()}


def kind_of(path: Path, wanted: Weights) -> Kind:
    """Of weights, as the published code names its files.

    Raises:
        InputError: raw ones are wanted of a file that is not known to hold such.
    """
    kind: Kind = "ema" if path.name.startswith("ema_") else "as stored"
    if re.fullmatch(r"model[0-9]+\.\w+", path.name):
        kind = "raw"
    if wanted == "raw" and kind != "raw":
        raise InputError(f"--weights raw does not go with {path}, which holds one set of weights: leave it out")
    return kind
