"""Which families there are; one is imported when it is needed."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ddgan_deploy.errors import InputError

if TYPE_CHECKING:
    from ddgan_deploy.artifact.manifest import FamilyInfo
    from ddgan_deploy.families.base import Family

FAMILIES = {
    "ddgan": "ddgan_deploy.families.ddgan.family",
    "stylegan2": "ddgan_deploy.families.stylegan2.family",
    "fastgan": "ddgan_deploy.families.fastgan.family",
    "adm": "ddgan_deploy.families.adm.family",
    "consistency": "ddgan_deploy.families.consistency.family",
}
"""Name -> the module whose ``FAMILY`` it is."""
FLAGS = {
    "stylegan2": "ddgan_deploy.families.stylegan2.flags",
    "fastgan": "ddgan_deploy.families.fastgan.flags",
    "adm": "ddgan_deploy.families.adm.flags",
}
"""Name -> the module whose ``FLAGS`` is a dataclass of what only this family's models are asked on a command line, and
whose ``TITLE`` is theirs; fields are as `cli.arguments` has them, None where nothing was given. With ``reading`` in its
metadata a field goes with every command that reads a checkpoint. Apart from the family, so that a command's ``--help``
imports no more."""


def flags() -> Iterator[tuple[str, type[Any]]]:
    """Of every family that has some: a title, and its flags."""
    for module in map(importlib.import_module, FLAGS.values()):
        yield module.TITLE, module.FLAGS


def flag_names(family: str) -> set[str]:
    """What the family of that name is asked on a command line."""
    if family not in FLAGS:
        return set()
    return {field.name for field in dataclasses.fields(importlib.import_module(FLAGS[family]).FLAGS)}


def families() -> Iterator[Family]:
    """All of them."""
    return map(family, FAMILIES)


def family(name: str) -> Family:
    """The family of that name.

    Raises:
        InputError: this version has none.
    """
    if name not in FAMILIES:
        raise InputError(f"the family {name!r} is unknown here, it has {', '.join(FAMILIES)}: use a newer ddgan-deploy")
    found: Family = importlib.import_module(FAMILIES[name]).FAMILY
    return found


def info_of(family: Family, model: Any, sampling: Any) -> FamilyInfo:
    """What a manifest keeps of the family's two dataclasses, as it is read again."""
    from ddgan_deploy.artifact.manifest import FamilyInfo

    fields = (json.loads(json.dumps(dataclasses.asdict(kind))) for kind in (model, sampling))
    return FamilyInfo(family.name, *fields)


def told_by(model: Any, sampling: Any) -> dict[str, Any]:
    """What an artifact tells of its network, for a checkpoint of the same; see `families.base.Given.known`."""
    return {**dataclasses.asdict(sampling), **dataclasses.asdict(model)}


def model_and_sampling(info: FamilyInfo) -> tuple[Any, Any]:
    """The family's two dataclasses, from what a manifest keeps of them.

    Raises:
        InputError: the family is unknown here, or its dataclasses cannot be made of that.
    """
    from pydantic import TypeAdapter, ValidationError

    kinds = family(info.name)
    try:
        model = TypeAdapter(kinds.model).validate_python(info.model)
        return model, TypeAdapter(kinds.sampling).validate_python(info.sampling)
    except ValidationError as error:
        first = error.errors()[0]
        # What is wrong with several values together is told of none of them.
        place = "".join(f"{name}: " for name in first["loc"][-1:])
        raise InputError(f"the manifest's {info.name} is damaged ({place}{first['msg']})") from None
