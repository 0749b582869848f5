"""Line plots as files that everyone can read: names stand at the lines, and no line is told by its colour alone.

A plot is white whatever page shows it, narrow enough for a phone, and says in words what it shows: in an SVG's title
and description, and in a PNG's text chunks of these names.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import printable

try:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator, ScalarFormatter
except ImportError:
    raise InputError("the package matplotlib is missing: pip install 'ddgan-deploy[serving]'") from None

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0b6e99", "#b3510c", "#3a7a55", "#ad1a72", "#6940a5", "#8a5a44", "#7a6000", "#555555")
"""Each has a contrast of 4.5 or more with white, since names are written in them."""
_MARKERS = "osD^vPX*<>"
_INK = "#333333"
_WIDTH, _HEIGHT, _FONT = 6.4, 4.0, 10.0
"""Of a panel in inches, and of the text in points."""


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        name: written at its end.
        points: (x, y), in the order of x.
        style: number of its colour and marker; lines of one subject share it.
        dashed: whether it is the lesser of two lines of one style.
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: int
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """Lines over one quantity.

    Attributes:
        title: what y is, with its unit.
        x: what x is.
        logarithmic: of y; x always is, with base 2. Else y begins at 0.
    """

    title: str
    x: str
    lines: Sequence[Line]
    logarithmic: bool = False


def draw(panels: Sequence[Panel], named: str, measured: str, path: Path, columns: int = 1) -> None:
    """Writes a plot, PNG or SVG by the name's suffix.

    Args:
        panels: row by row; the last row is full.
        named, measured: what was measured, and where or how: a line each above the panels.
        path: replaced where it exists.
        columns: panels beside each other.

    Raises:
        OSError: the file cannot be written.
    """
    rows, height = len(panels) // columns, _HEIGHT / columns**0.5
    figure = Figure(figsize=(_WIDTH, height * rows), dpi=200, layout="constrained")
    every = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(every, panels, strict=True):
        _draw(axes, panel, height)
    # A name is no formula, whatever dollars it has.
    head = f"{printable(named)}\n{printable(measured)}"
    figure.suptitle(head, x=0.01, ha="left", fontsize=_FONT, color=_INK, parse_math=False)
    _write(figure, path, printable(named), describe(panels))


def describe(panels: Iterable[Panel]) -> str:
    """What a plot shows, in words: of each line its first and last value."""
    told = []
    for panel in panels:
        lines = [
            f"{line.name} from {line.points[0][1]:.3g} at {line.points[0][0]:g} to {line.points[-1][1]:.3g} at "
            f"{line.points[-1][0]:g}"
            for line in panel.lines
            if line.points
        ]
        told.append(f"{panel.title}, over {panel.x}: {'; '.join(lines) or 'nothing'}.")
    return printable(" ".join(told))


def _draw(axes: Axes, panel: Panel, height: float) -> None:
    for line in panel.lines:
        colour = COLOURS[line.style % len(COLOURS)]
        axes.plot(
            [x for x, _ in line.points],
            [y for _, y in line.points],
            linestyle="--" if line.dashed else "-",
            marker=_MARKERS[line.style % len(_MARKERS)],
            markerfacecolor="white" if line.dashed else colour,
            color=colour,
        )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted({x for line in panel.lines for x, _ in line.points})))
    axes.set_xlabel(panel.x, fontsize=_FONT)
    axes.set_title(panel.title, loc="left", fontsize=_FONT, fontweight="bold")
    _scale_y(axes, panel)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(ScalarFormatter())
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    # The titles take some of the height.
    _name_lines(axes, panel, gap=1.2 * _FONT / (0.72 * 72 * height))


def _scale_y(axes: Axes, panel: Panel) -> None:
    if not panel.logarithmic:
        axes.set_ylim(bottom=0)
        return
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 8 * low else MaxNLocator(5))


def _name_lines(axes: Axes, panel: Panel, gap: float) -> None:
    """Writes names to the right of the lines' ends, a share of the height apart so that none covers another."""
    lines = [line for line in panel.lines if line.points]
    axes.autoscale_view()
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [float(to_axes.transform(line.points[-1])[1]) for line in lines]
    for line, y in zip(lines, spread(ends, gap), strict=True):
        axes.annotate(
            line.name,
            line.points[-1],
            (1.04, y),
            textcoords="axes fraction",
            color=COLOURS[line.style % len(COLOURS)],
            fontsize=_FONT,
            va="center",
            parse_math=False,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.6, "shrinkB": 5},
        )


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Places with at least ``gap`` between neighbours, in the same order, moved as little as each group allows."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    groups: list[list[int]] = []

    def first(group: Sequence[int]) -> float:
        return sum(places[i] for i in group) / len(group) - gap * (len(group) - 1) / 2

    for i in order:
        groups.append([i])
        while len(groups) > 1 and first(groups[-1]) < first(groups[-2]) + gap * len(groups[-2]):
            last = groups.pop()
            groups[-1] += last
    moved = {i: first(group) + gap * place for group in groups for place, i in enumerate(group)}
    return [moved[i] for i in range(len(places))]


def _write(figure: Figure, path: Path, title: str, description: str) -> None:
    kind = path.suffix.lower().removeprefix(".")
    content = io.BytesIO()
    figure.savefig(content, format=kind, metadata={"Title": title, "Description": description})
    written = content.getvalue()
    if kind == "svg":
        # Matplotlib states the description in metadata that no browser reads out.
        text = written.decode().replace("<svg ", '<svg role="img" ', 1)
        written = text.replace("</title>", f"</title>\n <desc>{escape(description)}</desc>", 1).encode()
    path.write_bytes(written)
