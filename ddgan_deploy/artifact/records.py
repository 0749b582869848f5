"""Our JSON files, which have a version: read alike, refused alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import ValidationError

T = TypeVar("T")
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]


class DamagedRecord(ValueError):
    """It is not what it should be; says where and why."""


class OtherVersion(ValueError):
    """It is of a version that is not read here.

    Attributes:
        version: its own.
    """

    def __init__(self, version: int) -> None:
        super().__init__(f"format version {version}")
        self.version = version


def read_record(text: str | bytes, kind: type[T], version: int, older: Mapping[int, Upgrade] | None = None) -> T:
    """A record of a kind.

    Args:
        text: JSON.
        kind: a dataclass.
        version: that is read.
        older: versions of before -> what makes a record of ``version`` of one.

    Raises:
        DamagedRecord: it is no JSON, or does not fit.
        OtherVersion: it is of another version; other fields are not looked at then.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        # The numbers that JSON does not have are in none of our records.
        content = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(f"content: it is no JSON, {error}") from None
    if not isinstance(content, dict):
        raise DamagedRecord("content: it is no JSON object")
    found = content.get("format_version")
    if not isinstance(found, int) or isinstance(found, bool):
        raise DamagedRecord("format_version: Field required")
    if found != version:
        if found not in (older or {}):
            raise OtherVersion(found)
        try:
            content = (older or {})[found](content)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise DamagedRecord(f"{str(error) or 'content'}: it does not fit") from None
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        raise DamagedRecord(_first_problem(error)) from None


def write_record(record: object) -> bytes:
    """The record as JSON."""
    from pydantic import TypeAdapter

    return TypeAdapter(type(record)).dump_json(record, indent=2) + b"\n"


def _refused(name: str) -> float:
    raise ValueError(f"{name} is no number of it")


def _first_problem(error: ValidationError) -> str:
    """What is wrong first, and where in the record."""
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'content'}: {first['msg']}"
