"""KServe's custom resources, as its own Python package states them.

The package's models are generated from the same Go types as the CRDs. They are read, not imported: what the package
needs contradicts our constraints. Kubernetes' own types in them (V1Container and so on) are not looked into here.
"""

from __future__ import annotations

import ast
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PLAIN = {"str": str, "int": int, "bool": bool, "object": dict}


@dataclass(frozen=True)
class Model:
    """A type: of each JSON key the type of its value, and the keys that must be there."""

    fields: dict[str, str]
    required: frozenset[str]


class Models:
    """The types of a wheel of the package ``kserve``."""

    def __init__(self, wheel: Path) -> None:
        self._models: dict[str, Model] = {}
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if re.fullmatch(r"kserve/models/\w+_\w+\.py", name):
                    self._models |= _read(archive.read(name).decode())

    def fields(self, name: str) -> dict[str, str]:
        """The fields of a type."""
        return self._models[name].fields

    def wrong(self, value: Any, name: str, place: str = "") -> list[str]:
        """What is wrong with a value of a type: unknown fields, missing ones, other types."""
        if inner := re.fullmatch(r"list\[(.+)\]", name):
            if not isinstance(value, list):
                return [f"{place} is no list"]
            return [line for i, one in enumerate(value) for line in self.wrong(one, inner[1], f"{place}[{i}]")]
        if inner := re.fullmatch(r"dict\(str, (.+)\)", name):
            if not isinstance(value, dict):
                return [f"{place} is no object"]
            return [line for key, one in value.items() for line in self.wrong(one, inner[1], f"{place}.{key}")]
        if name in _PLAIN:
            return [] if type(value) is _PLAIN[name] else [f"{place} is no {name}"]
        model = self._models.get(name)
        if model is None:
            return []
        if not isinstance(value, dict):
            return [f"{place} is no object"]
        lines = [f"{place} has no {key}" for key in sorted(model.required - value.keys())]
        for key, one in value.items():
            known = key in model.fields
            lines += self.wrong(one, model.fields[key], f"{place}.{key}") if known else [f"{place} knows no {key}"]
        return lines


def _read(text: str) -> dict[str, Model]:
    """The models in a module of the package."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            tables = {
                target.id: ast.literal_eval(statement.value)
                for statement in node.body
                if isinstance(statement, ast.Assign)
                for target in statement.targets
                if isinstance(target, ast.Name) and target.id in ("openapi_types", "attribute_map")
            }
            keys = tables["attribute_map"]
            fields = {keys[attribute]: name for attribute, name in tables["openapi_types"].items()}
            must = re.findall(r"Invalid value for `(\w+)`, must not be `None`", text)
            found[node.name] = Model(fields, frozenset(keys[attribute] for attribute in must))
    return found
