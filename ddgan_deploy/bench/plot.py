"""A picture of what ddgan-bench measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import printable

try:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
except ImportError:
    raise InputError(
        "the package matplotlib is missing: pip install 'ddgan-deploy[serving]', or leave out --plot"
    ) from None

if TYPE_CHECKING:
    from ddgan_deploy.bench.results import BenchResult, Row

_COLOURS = ("#0b6e99", "#d9730d", "#448361", "#ad1a72", "#6940a5", "#9f6b53", "#dfab01", "#555555")
_MARKERS = "osD^v"
_GREY = "#555555"


def plot(result: BenchResult, path: Path) -> None:
    """Images a second over the batch size, one line an engine and precision; PNG or SVG by the name's suffix."""
    figure = Figure(figsize=(8, 4.8), dpi=150, layout="constrained")
    axes = figure.subplots()
    lines: dict[tuple[str, str, str | None], list[Row]] = {}
    for row in result.rows:
        lines.setdefault((row.engine, row.precision, row.artifact), []).append(row)
    several = len({row.precision for row in result.rows if row.artifact}) > 1
    for i, ((engine, precision, artifact), rows) in enumerate(lines.items()):
        axes.plot(
            [row.batch for row in rows],
            [row.images_per_s for row in rows],
            marker=_MARKERS[i // len(_COLOURS) % len(_MARKERS)],
            color=_COLOURS[i % len(_COLOURS)],
            label=f"{engine}, {precision}" if several and artifact else engine,
        )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted({row.batch for row in result.rows})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel("batch")
    axes.set_ylabel("images/s")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    named, measured = title(result)
    # A name is no formula, whatever dollars it has.
    figure.suptitle(f"{named}\n{measured}", x=0.01, ha="left", fontsize=9, color=_GREY, parse_math=False)
    figure.savefig(path, format=path.suffix.lower().removeprefix("."), metadata={"Title": named})


def title(result: BenchResult) -> tuple[str, str]:
    """What was measured, by the names of the artifacts, and where: a line each."""
    here = result.environment
    folders = dict.fromkeys(Path(row.artifact).absolute().name for row in result.rows if row.artifact)
    channels, height, width = here.image
    size = f"{channels}×{height}×{width}, {here.steps} steps"
    where = f"{here.gpu}, {here.cpu}" if here.gpu else here.cpu
    return printable(", ".join((*folders, size))), f"{here.threads} threads, {where}"
