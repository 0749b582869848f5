"""KServe's custom resources, as its own Python package states them.

The package's models are generated from the same Go types as the CRDs. They are read, not imported: what the package
needs contradicts our constraints. Kubernetes' own types in them (V1Container and so on) are not looked into here.
"""

from __future__ import annotations

import ast
import re
import zipfile
from pathlib import Path

from tests.deploy.resources import Model


def kserve_models(wheel: Path) -> dict[str, Model]:
    """The types of a wheel of the package ``kserve``."""
    models: dict[str, Model] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if re.fullmatch(r"kserve/models/\w+_\w+\.py", name):
                models |= _read(archive.read(name).decode())
    return models


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
