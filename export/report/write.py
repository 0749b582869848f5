"""The report of an export: ``report.html``, one file that needs nothing else, and ``samples.png``."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.manifest import ENGINE_SUFFIXES, SAMPLER, SERVED, WEIGHTS, Manifest
from ddgan_deploy.artifact.results import ParityResult
from ddgan_deploy.engines.tensorrt.plan import PlanInfo
from ddgan_deploy.export.report.engines import render_engines
from ddgan_deploy.export.report.formats import environment, number
from ddgan_deploy.families.ddgan.schedule import Float32
from ddgan_deploy.images import grid, png, to_pixels
from ddgan_deploy.parity.verify import Verification

REPORT = "report.html"
SAMPLES = "samples.png"
MAX_SEEDS, MAX_STRIP_STEPS, MAX_SAMPLES = 4, 8, 16
"""The most pictures shown of each kind."""
CHART_WIDTH, CHART_HEIGHT = 420.0, 260.0
"""In SVG units; the plot leaves room for labels on the left and below."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 14.0, 40.0
_RANGE = 2.0
_GRAPH_FILES = (SAMPLER, SERVED, WEIGHTS)
_OFF_SCALE = ("equal", "not finite", "0")
"""What a chart draws at its edge."""
_TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Comparison:
    """One image as the reference and the engine made it, and their difference, as data: URIs."""

    label: str
    reference: str
    engine: str
    difference: str


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
        x_ticks, y_ticks: along the axes.
        series: name -> one mark a step.
        limit: the gate's limit, if this quantity has one.
        fails_above: whether values above the limit fail, rather than those below.
    """

    title: str
    x_ticks: tuple[Mark, ...]
    y_ticks: tuple[Mark, ...]
    series: dict[str, tuple[Mark, ...]]
    limit: Mark | None
    fails_above: bool


def write_report(
    folder: Path,
    manifest: Manifest,
    verification: Verification | None,
    images: npt.NDArray[np.uint8],
    timings: Sequence[tuple[str, float]],
    engines: Sequence[PlanInfo] = (),
) -> None:
    """Writes ``report.html`` and ``samples.png``.

    Args:
        folder: that is being exported; it exists.
        manifest: of the export; files that it does not list are not in the report.
        verification: None where the export ran with ``--no-verify``.
        images: uint8 [N, H, W, C], what the served graph gives for the seeds 0..N-1.
        timings: (name, seconds) of each stop of the export, in order.
        engines: of TensorRT; the manifest lists their files.

    Raises:
        InputError: the images have 2 or more than 4 channels.
        OSError: a file cannot be written.
    """
    content = render(manifest, verification, images, timings, engines)
    (folder / SAMPLES).write_bytes(png(grid(images)))
    # Not every name is text: bytes that are no UTF-8 become escapes.
    (folder / REPORT).write_bytes(content.encode("utf-8", "backslashreplace"))


def render(
    manifest: Manifest,
    verification: Verification | None,
    images: npt.NDArray[np.uint8],
    timings: Sequence[tuple[str, float]],
    engines: Sequence[PlanInfo] = (),
) -> str:
    """The report as HTML; arguments as for `write_report`."""
    result = verification.result if verification else None
    return (
        environment()
        .get_template(_TEMPLATE)
        .render(
            manifest=manifest,
            result=result,
            verdict="not verified" if result is None else "passed" if result.passed else "FAILED",
            graph_bytes=sum(manifest.files[name].bytes for name in _GRAPH_FILES if name in manifest.files),
            engines=render_engines(manifest, engines),
            # Those of engines change without the report.
            files={name: info for name, info in manifest.files.items() if not name.endswith(ENGINE_SUFFIXES)},
            samples=[_picture(image) for image in images[:MAX_SAMPLES]],
            charts=_charts(result) if result else [],
            scaled=result is not None and _scaled(result),
            timings=timings,
            total_seconds=sum(seconds for _, seconds in timings),
            longest_seconds=max((seconds for _, seconds in timings), default=0.0) or 1.0,
            white=_RANGE,
            chart_size=(CHART_WIDTH, CHART_HEIGHT),
            plot=(_LEFT, _TOP, CHART_WIDTH - _RIGHT, CHART_HEIGHT - _BOTTOM),
            **(_pictures(verification) if verification else {}),
        )
    )


def amplification(difference: npt.NDArray[np.float64]) -> int:
    """The factor 1, 2, 5, 10, .. 5e9 that makes a difference of images in [-1, 1] visible.

    The 99th percentile of what is finite comes to 0.5 to 1.25 times full brightness.
    """
    finite = difference[np.isfinite(difference)]
    high = float(np.percentile(finite, 99)) if finite.size else 0.0
    high = high or float(finite.max(initial=0.0))
    factors = [step * 10**exponent for exponent in range(10) for step in (1, 2, 5)]
    return max((factor for factor in factors if high and factor * high <= 1.25 * _RANGE), default=1)


def _pictures(verification: Verification) -> dict[str, Any]:
    """Images side by side, for a few seeds and along the steps of the first one."""
    result, reference, engine = verification.result, verification.reference, verification.engine
    seeds = result.seeds[:MAX_SEEDS]
    names = [f"seed {seed}" for seed in seeds]
    steps = _spread(len(reference.x0), MAX_STRIP_STEPS)
    factor, sides = _compare(reference.x_prev[-1, : len(seeds)], engine.x_prev[-1, : len(seeds)], names)
    labels = [f"step {k}, t={len(reference.x0) - 1 - k}" for k in steps]
    strip_factor, strip = _compare(reference.x0[steps, 0], engine.x0[steps, 0], labels)
    return {
        "sides": sides,
        "cut_off": bool((np.abs(reference.x_prev[-1]) > 1).any()),
        "side_factor": factor,
        "strip": strip,
        "strip_factor": strip_factor,
        "strip_seed": seeds[0] if seeds else 0,
    }


def _spread(count: int, most: int) -> list[int]:
    """At most so many indices below ``count``, evenly spaced, the first and the last among them."""
    return [int(index) for index in np.unique(np.linspace(0, count - 1, min(count, most)).round())]


def _compare(reference: Float32, engine: Float32, labels: Sequence[str]) -> tuple[int, list[Comparison]]:
    """Two batches [N, C, H, W], image by image, with one amplification for all differences.

    A difference is the largest over the channels, in grey; what is not finite is white.
    """
    difference = np.abs(reference.astype(np.float64) - engine).max(axis=1)[..., None]
    factor = amplification(difference)
    bright = np.clip(np.nan_to_num(difference * factor / _RANGE, nan=1.0), 0, 1)
    rows = zip(labels, _pixels(reference), _pixels(engine), (bright * 255).astype(np.uint8), strict=True)
    return factor, [Comparison(label, *(_picture(image) for image in row)) for label, *row in rows]


def _pixels(x: Float32) -> npt.NDArray[np.uint8]:
    """Pixels of images [N, C, H, W], in which NaN is black."""
    return to_pixels(np.clip(np.nan_to_num(x, nan=-1.0), -1, 1))


def _picture(image: npt.NDArray[np.uint8]) -> str:
    """An image [H, W, C] as a data: URI."""
    return "data:image/png;base64," + base64.b64encode(png(grid(image[None]))).decode("ascii")


def _charts(result: ParityResult) -> list[Chart]:
    """The gated quantity first; PSNR only where it is gated."""
    limits = {gate.unit: gate.limit for gate in result.gates if gate.name.startswith("step ")}
    rows = result.steps
    max_abs = {
        "x0": [_in_scale(row.x0_max_abs, row.x0_scale) for row in rows],
        "x_prev": [_in_scale(row.x_prev_max_abs, row.x_prev_scale) for row in rows],
    }
    psnr = {"x0": [row.x0_psnr for row in rows], "x_prev": [row.x_prev_psnr for row in rows]}
    charts = []
    if "dB" in limits:
        charts.append(_chart("PSNR, dB (higher is better)", psnr, limits["dB"], "dB"))
    title = f"Largest absolute difference{' over the scale' if _scaled(result) else ''} (lower is better)"
    # The last gate is that of the last state.
    limit = limits["max abs"] / rows[-1].x_prev_scale if "max abs" in limits else None
    charts.append(_chart(title, max_abs, limit, "max abs"))
    return charts


def _in_scale(value: float, scale: float) -> float:
    return value if number(value) == "not finite" else value / scale


def _scaled(result: ParityResult) -> bool:
    """Whether values are of another order than one; that of a noisy state is so but for some percent."""
    return any(not 0.9 < scale < 1.1 for row in result.steps for scale in (row.x0_scale, row.x_prev_scale))


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
        x_ticks=tuple(Mark(x(k), CHART_HEIGHT - _BOTTOM, f"{k}") for k in range(0, count, every)),
        y_ticks=tuple(Mark(_LEFT, y(p), tick(p)) for p in range(low, high + 1, math.ceil((high - low) / 6))),
        series={
            name: tuple(Mark(x(k), y(place(value)), number(value, unit)) for k, value in enumerate(column))
            for name, column in series.items()
        },
        limit=None if limit is None else Mark(_LEFT, y(place(limit)), number(limit, unit)),
        fails_above=unit != "dB",
    )


def _decades(value: float) -> float:
    return math.log10(value) if value > 0 else -math.inf
