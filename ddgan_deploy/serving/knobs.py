"""The knobs of a served model, as its configuration tells them.

A knob is an input beside ``seed``. What the input's type and dims do not tell stands in the model's parameters:
``least_NAME``, ``most_NAME`` and, where a request may leave the knob out, ``default_NAME``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ddgan_deploy.errors import InputError
from ddgan_deploy.sampler import Knob
from ddgan_deploy.serving.echo import SEED

TYPES = {"float32": "TYPE_FP32", "int64": "TYPE_INT64", "uint8": "TYPE_UINT8"}
"""A dtype in ``config.pbtxt``."""
_DTYPES = {name: dtype for dtype, name in TYPES.items()}


def knob_parameters(knobs: Sequence[Knob]) -> dict[str, str]:
    """What a model's parameters tell of its knobs."""
    told: dict[str, str] = {}
    for knob in knobs:
        limits = {"least": knob.least, "most": knob.most, "default": knob.default}
        told |= {f"{word}_{knob.name}": f"{value:.17g}" for word, value in limits.items() if value is not None}
    return told


def knobs_of(config: Mapping[str, Any]) -> tuple[Knob, ...]:
    """The knobs that a model has, in the order of its inputs.

    Args:
        config: the configuration, its fields named as in ``config.pbtxt``.

    Raises:
        InputError: a limit is no number.
    """
    told = {name: value.get("string_value", "") for name, value in config.get("parameters", {}).items()}

    def number(word: str, name: str) -> float | None:
        text = told.get(f"{word}_{name}")
        try:
            return None if text is None else float(text)
        except ValueError:
            raise InputError(f"parameter {word}_{name} {text!r} is no number: mend config.pbtxt") from None

    knobs = []
    for tensor in config.get("input", []):
        name = tensor["name"]
        dtype, least, most = _DTYPES.get(tensor.get("data_type")), number("least", name), number("most", name)
        if dtype and least is not None and most is not None:
            dims = tuple(int(dim) for dim in tensor["dims"])
            knobs.append(Knob(name, dtype, dims, least, most, number("default", name)))
    return tuple(knobs)


def asked_with(config: Mapping[str, Any]) -> tuple[Knob, ...] | None:
    """The knobs of a model that takes a seed; None where it takes none, or needs something else beside.

    Args:
        config: as of `knobs_of`.

    Raises:
        InputError: a limit is no number.
    """
    knobs = knobs_of(config)
    needed = {tensor["name"] for tensor in config.get("input", []) if not tensor.get("optional")}
    return knobs if SEED in needed and needed <= {SEED, *(knob.name for knob in knobs)} else None
