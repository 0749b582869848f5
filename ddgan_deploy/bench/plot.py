"""A picture of what ddgan-bench measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.plots import Line, Panel, draw

if TYPE_CHECKING:
    from ddgan_deploy.bench.results import BenchResult, Row


def plot(result: BenchResult, path: Path) -> None:
    """Images a second over the batch size, one line an engine and precision; PNG or SVG by the name's suffix."""
    rows: dict[tuple[str, str, str | None], list[Row]] = {}
    for row in result.rows:
        rows.setdefault((row.engine, row.precision, row.artifact), []).append(row)
    several = len({row.precision for row in result.rows if row.artifact}) > 1
    lines = [
        Line(
            f"{engine}, {precision}" if several and artifact else engine,
            [(row.batch, row.images_per_s) for row in those],
            style,
        )
        for style, ((engine, precision, artifact), those) in enumerate(rows.items())
    ]
    draw([Panel("images/s", "batch", lines)], *title(result), path)


def title(result: BenchResult) -> tuple[str, str]:
    """What was measured, by the names of the artifacts, and where: a line each."""
    here = result.environment
    folders = dict.fromkeys(Path(row.artifact).absolute().name for row in result.rows if row.artifact)
    channels, height, width = here.image
    size = f"{channels}×{height}×{width}, {here.steps} steps"
    where = f"{here.gpu}, {here.cpu}" if here.gpu else here.cpu
    return ", ".join((*folders, size)), f"{here.threads} threads, {where}"
