"""Custom resources, for which Kubernetes has no schema: the fields that their makers state, and what differs."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PLAIN = {"str": str, "int": int, "bool": bool, "object": dict}


@dataclass(frozen=True)
class Model:
    """A type: of each JSON key the type of its value, and the keys that must be there."""

    fields: Mapping[str, str]
    required: frozenset[str] = frozenset()


def wrong(models: Mapping[str, Model], value: Any, name: str, place: str = "") -> list[str]:
    """What is wrong with a value of a type: unknown fields, missing ones, other types.

    Args:
        models: by name; types that are not among them, such as Kubernetes' own, are not looked into.
        value: as read from YAML.
        name: of its type: a model, str, int, bool, object, "list[NAME]", "dict(str, NAME)".
        place: where the value stands, for the lines.
    """
    if inner := re.fullmatch(r"list\[(.+)\]", name):
        if not isinstance(value, list):
            return [f"{place} is no list"]
        return [line for i, one in enumerate(value) for line in wrong(models, one, inner[1], f"{place}[{i}]")]
    if inner := re.fullmatch(r"dict\(str, (.+)\)", name):
        if not isinstance(value, dict):
            return [f"{place} is no object"]
        return [line for key, one in value.items() for line in wrong(models, one, inner[1], f"{place}.{key}")]
    if name in _PLAIN:
        return [] if type(value) is _PLAIN[name] else [f"{place} is no {name}"]
    model = models.get(name)
    if model is None:
        return []
    if not isinstance(value, dict):
        return [f"{place} is no object"]
    lines = [f"{place} has no {key}" for key in sorted(model.required - value.keys())]
    for key, one in value.items():
        known = key in model.fields
        lines += wrong(models, one, model.fields[key], f"{place}.{key}") if known else [f"{place} knows no {key}"]
    return lines


def changed(manifest: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at a path; None: with none."""
    copied = copy.deepcopy(manifest)
    *parents, last = path.split(".")
    place: Any = copied
    for key in parents:
        place = place[int(key) if key.isdecimal() else key]
    place.pop(last) if value is None else place.update({last: value})
    return copied
