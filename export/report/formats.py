"""Values as a report shows them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ddgan_deploy.artifact.results import EQUAL_PSNR, Gate
from ddgan_deploy.names import printable

if TYPE_CHECKING:
    import jinja2

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_NOT_FINITE = float(np.finfo(np.float32).max)


def environment() -> jinja2.Environment:
    """Templates of this folder, with these functions as filters."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=number, measured=measured, size=size, seconds=seconds, shape=shape)
    made.filters.update(date=date, printable=printable)
    return made


def number(value: float, unit: str = "", digits: int = 1) -> str:
    """A value for a table: "3.1e-6", "41.2", "equal" (of a PSNR), "not finite".

    Args:
        value: in ``unit``.
        unit: as in `Gate`.
        digits: after the point, of a PSNR or of a mantissa.
    """
    if not abs(value) < _NOT_FINITE:
        return "not finite"
    if unit == "dB":
        return "equal" if value >= EQUAL_PSNR else f"{value:.{digits}f}"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.') if digits == 1 else mantissa}e{int(exponent)}"


def measured(gate: Gate) -> str:
    """What a gate measured, with as many digits as it takes to see why it failed."""
    for digits in range(1, 16):
        text = number(gate.measured, gate.unit, digits)
        if gate.passed or text != number(gate.limit, gate.unit, digits):
            return text
    return number(gate.measured, gate.unit)


def size(count: int) -> str:
    """Bytes in decimal units: "217 MB"."""
    value = float(count)
    for unit in ("bytes", "kB", "MB"):
        if value < 999.5:
            return f"{value:.3g}\N{NO-BREAK SPACE}{unit}"
        value /= 1000
    return f"{value:,.3g}\N{NO-BREAK SPACE}GB"


def seconds(value: float) -> str:
    """A duration: "0.42 s", "14.2 s", "3 min 5 s"."""
    if value < 120:
        return f"{value:.{2 if value < 10 else 1}f}\N{NO-BREAK SPACE}s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest}\N{NO-BREAK SPACE}s"


def shape(sizes: Sequence[int | str]) -> str:
    """[batch, 3, 32, 32]"""
    return f"[{', '.join(str(size) for size in sizes)}]"


def date(created: str) -> str:
    """A time of ISO 8601 for people: "28 November 2026, 14:31 UTC"; what is none stays as it is."""
    try:
        moment = datetime.datetime.fromisoformat(created)
    except ValueError:
        return printable(created)
    # Not by strftime, whose months are those of the locale.
    zone = f" {moment.tzname()}" if moment.tzinfo else ""
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}, {moment:%H:%M}{zone}"
