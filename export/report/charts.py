"""Errors along the steps, laid out as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ddgan_deploy.artifact.results import ParityResult, ProbeParity
from ddgan_deploy.export.report.formats import number

CHART_WIDTH, CHART_HEIGHT = 420.0, 260.0
"""In SVG units; the plot leaves room for labels on the left and below."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 14.0, 40.0
PLOT = (_LEFT, _TOP, CHART_WIDTH - _RIGHT, CHART_HEIGHT - _BOTTOM)
"""Left, top, right and bottom of what is plotted."""
_OFF_SCALE = ("equal", "not finite", "0")
"""What a chart draws at its edge."""


@dataclass(frozen=True)
class Mark:
    """A labelled point of a chart, in SVG units."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Chart:
    """Errors step by step, laid out in SVG units.

    Attributes:
        title: with the unit.
        described: what it shows, for those who do not see it.
        x_ticks, y_ticks: along the axes.
        series: name -> one mark a step; the name is empty where every mark is of a quantity of its own.
        limit: the gate's limit, if this quantity has one.
        fails_above: whether values above the limit fail, rather than those below.
    """

    title: str
    described: str
    x_ticks: tuple[Mark, ...]
    y_ticks: tuple[Mark, ...]
    series: dict[str, tuple[Mark, ...]]
    limit: Mark | None
    fails_above: bool


def compared(result: ParityResult) -> tuple[list[str], list[tuple[str, list[ProbeParity | None]]]]:
    """What was compared inside the sampler, as a table: the columns' names, and rows of a place and its cells."""
    names = list(_series(result))
    places = list(dict.fromkeys(_place(row) for row in result.probes))
    cells = {(_place(row), name): row for name, rows in _series(result).items() for row in rows}
    return names, [(place, [cells.get((place, name)) for name in names]) for place in places]


def _place(row: ProbeParity) -> str:
    return row.place or row.value


def _series(result: ParityResult) -> dict[str, list[ProbeParity]]:
    """By what was compared, in running order; under no name what comes but once, each at a place of its own."""
    rows = result.probes
    if len(rows) > 1 and len(rows) == len({row.column for row in rows}) == len({_place(row) for row in rows}):
        return {"": list(rows)}
    found: dict[str, list[ProbeParity]] = {}
    for row in result.probes:
        found.setdefault(row.column, []).append(row)
    return found


def charts(result: ParityResult) -> list[Chart]:
    """The gated quantity first; PSNR only where it is gated."""
    own = {f"{row.place} {row.value}".strip() for row in result.probes}
    # The last gate is that of x_0.
    limits = {gate.unit: gate.limit for gate in result.gates if gate.name in own}
    told = _series(result)
    max_abs = {name: [_in_scale(row.max_abs, row.scale) for row in rows] for name, rows in told.items()}
    psnr = {name: [row.psnr for row in rows] for name, rows in told.items()}
    made = []
    if "dB" in limits:
        made.append(_chart("PSNR, dB (higher is better)", psnr, limits["dB"], "dB"))
    title = f"Largest absolute difference{' over the scale' if is_scaled(result) else ''} (lower is better)"
    limit = limits["max abs"] / result.probes[-1].scale if "max abs" in limits else None
    made.append(_chart(title, max_abs, limit, "max abs"))
    return made


def _in_scale(value: float, scale: float) -> float:
    return value if number(value) == "not finite" else value / scale


def is_scaled(result: ParityResult) -> bool:
    """Whether values are of another order than one; that of a noisy state is so but for some percent."""
    return any(not 0.9 < row.scale < 1.1 for row in result.probes)


def _chart(title: str, series: dict[str, list[float]], limit: float | None, unit: str) -> Chart:
    """Lays out a chart: decades for differences, tens for decibels."""
    place: Callable[[float], float] = (lambda value: value / 10) if unit == "dB" else _decades
    values = [value for column in series.values() for value in column] + ([] if limit is None else [limit])
    drawn = [place(value) for value in values if number(value, unit) not in _OFF_SCALE] or [0.0]
    low, high = math.floor(min(drawn) - 0.2), math.ceil(max(drawn) + 0.2)
    count = max(len(column) for column in series.values())
    every = next(step for step in (1, 2, 5, 10) if count <= 12 * step)

    def x(k: int) -> float:
        inset = 24.0
        width = CHART_WIDTH - _LEFT - _RIGHT - 2 * inset
        return round(_LEFT + inset + width * (k / (count - 1) if count > 1 else 0.5), 1)

    def y(position: float) -> float:
        share = (min(max(position, low), high) - low) / (high - low)
        return round(CHART_HEIGHT - _BOTTOM - share * (CHART_HEIGHT - _TOP - _BOTTOM), 1)

    def tick(position: int) -> str:
        return str(position * 10) if unit == "dB" else number(10.0**position)

    return Chart(
        title=title,
        described=_described(title, series, limit, unit),
        x_ticks=tuple(Mark(x(k), CHART_HEIGHT - _BOTTOM, f"{k}") for k in range(0, count, every)),
        y_ticks=tuple(Mark(_LEFT, y(p), tick(p)) for p in range(low, high + 1, math.ceil((high - low) / 6))),
        series={
            name: tuple(Mark(x(k), y(place(value)), number(value, unit)) for k, value in enumerate(column))
            for name, column in series.items()
        },
        limit=None if limit is None else Mark(_LEFT, y(place(limit)), number(limit, unit)),
        fails_above=unit != "dB",
    )


def _described(title: str, series: dict[str, list[float]], limit: float | None, unit: str) -> str:
    """The worst value of each line, and the limit."""
    worst, bound = (min, "at least") if unit == "dB" else (max, "at most")
    told = [f"{name} {bound} {number(worst(values), unit)}".strip() for name, values in series.items()]
    gate = [] if limit is None else [f"limit {number(limit, unit)}"]
    return f"{title}: {', '.join(told + gate)}."


def _decades(value: float) -> float:
    return math.log10(value) if value > 0 else -math.inf
