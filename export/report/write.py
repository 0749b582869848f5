"""The report of an export: ``report.html``, one file that needs nothing else, and ``samples.png``."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

from ddgan_deploy.artifact.manifest import ENGINE_SUFFIXES, SAMPLER, SERVED, WEIGHTS, Manifest
from ddgan_deploy.engines.tensorrt.plan import PlanInfo
from ddgan_deploy.export.report.charts import CHART_HEIGHT, CHART_WIDTH, PLOT, charts, compared, is_scaled
from ddgan_deploy.export.report.engines import render_engines
from ddgan_deploy.export.report.formats import environment
from ddgan_deploy.export.report.sweeps import Sweep
from ddgan_deploy.images import grid, png, to_pixels
from ddgan_deploy.parity.verify import Outcome, Verification

Float32 = npt.NDArray[np.float32]

REPORT = "report.html"
SAMPLES = "samples.png"
MAX_SEEDS, MAX_STRIP_STEPS, MAX_SAMPLES = 4, 8, 16
"""The most pictures shown of each kind."""
_RANGE = 2.0
_GRAPH_FILES = (SAMPLER, SERVED, WEIGHTS)
_TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Picture:
    """An image as a data: URI, and its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Comparison:
    """One image as the reference and the engine made it, and their difference."""

    label: str
    reference: Picture
    engine: Picture
    difference: Picture


def write_report(
    folder: Path,
    manifest: Manifest,
    verification: Outcome | None,
    images: npt.NDArray[np.uint8],
    timings: Sequence[tuple[str, float]],
    engines: Sequence[PlanInfo] = (),
    sweeps: Sequence[Sweep] = (),
) -> None:
    """Writes ``report.html`` and, where there are images, ``samples.png``.

    Args:
        folder: that is being exported; it exists.
        manifest: of the export; files that it does not list are not in the report.
        verification: None where the export ran with ``--no-verify``.
        images: uint8 [N, H, W, C], what the served graph gives for the seeds 0..N-1; none where that takes too long.
        timings: (name, seconds) of each stop of the export, in order.
        engines: of TensorRT; the manifest lists their files.
        sweeps: what the served graph gives along the values of knobs.

    Raises:
        InputError: the images have 2 or more than 4 channels.
        OSError: a file cannot be written.
    """
    content = render(manifest, verification, images, timings, engines, sweeps)
    if len(images):
        (folder / SAMPLES).write_bytes(png(grid(images)))
    # Not every name is text: bytes that are no UTF-8 become escapes.
    (folder / REPORT).write_bytes(content.encode("utf-8", "backslashreplace"))


def render(
    manifest: Manifest,
    verification: Outcome | None,
    images: npt.NDArray[np.uint8],
    timings: Sequence[tuple[str, float]],
    engines: Sequence[PlanInfo] = (),
    sweeps: Sequence[Sweep] = (),
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
            sweeps=[(sweep, _sweep_rows(sweep)) for sweep in sweeps],
            charts=charts(result) if result else [],
            compared=compared(result) if result else ([], []),
            scaled=result is not None and is_scaled(result),
            timings=timings,
            total_seconds=sum(seconds for _, seconds in timings),
            longest_seconds=max((seconds for _, seconds in timings), default=0.0) or 1.0,
            white=_RANGE,
            chart_size=(CHART_WIDTH, CHART_HEIGHT),
            plot=PLOT,
            **(_pictures(verification) if isinstance(verification, Verification) else {}),
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
    """Images side by side, for a few seeds and along what a family shows of the first one."""
    reference, engine = verification.reference, verification.engine
    seeds = verification.result.seeds[:MAX_SEEDS]
    names = [f"seed {seed}" for seed in seeds]
    factor, sides = _compare(reference[-1][: len(seeds)], engine[-1][: len(seeds)], names)
    shown = [place for place, probe in enumerate(verification.probes) if probe.shown]
    frames = [shown[index] for index in _spread(len(shown), MAX_STRIP_STEPS)]
    return {
        "sides": sides,
        "cut_off": bool((np.abs(reference[-1]) > 1).any()),
        "side_factor": factor,
        "strip_all": len(shown),
        "strip_value": verification.probes[shown[0]].column if shown else "",
        "strip_seed": seeds[0] if seeds else 0,
        **_strip(verification, frames),
    }


def _strip(verification: Verification, frames: Sequence[int]) -> dict[str, Any]:
    """Pictures inside the sampler, of the first seed; they may be of several sizes."""
    pairs = [(verification.reference[place][:1], verification.engine[place][:1]) for place in frames]
    labels = [verification.probes[place].place or verification.probes[place].value for place in frames]
    every = [np.abs(one.astype(np.float64) - other).ravel() for one, other in pairs]
    factor = amplification(np.concatenate(every)) if every else 1
    strip = [_compare(*pair, [label], factor)[1][0] for pair, label in zip(pairs, labels, strict=True)]
    return {"strip": strip, "strip_factor": factor}


def _sweep_rows(sweep: Sweep) -> list[tuple[int, list[tuple[str, Picture]]]]:
    """Of each seed: itself, and the columns' names with their pictures."""
    pictures = [[_encoded(image) for image in row] for row in sweep.thumbnails()]
    return [(seed, [*zip(sweep.columns, row, strict=True)]) for seed, row in zip(sweep.seeds, pictures, strict=True)]


def _spread(count: int, most: int) -> list[int]:
    """At most so many indices below ``count``, evenly spaced, the first and the last among them."""
    return [int(index) for index in np.unique(np.linspace(0, count - 1, min(count, most)).round())]


def _compare(
    reference: Float32, engine: Float32, labels: Sequence[str], factor: int | None = None
) -> tuple[int, list[Comparison]]:
    """Two batches [N, C, H, W], image by image, with one amplification for all differences.

    A difference is the largest over the channels, in grey; what is not finite is white.
    """
    difference = np.abs(reference.astype(np.float64) - engine).max(axis=1)[..., None]
    factor = amplification(difference) if factor is None else factor
    bright = np.clip(np.nan_to_num(difference * factor / _RANGE, nan=1.0), 0, 1)
    rows = zip(labels, _pixels(reference), _pixels(engine), (bright * 255).astype(np.uint8), strict=True)
    return factor, [Comparison(label, *(_picture(image) for image in row)) for label, *row in rows]


def _pixels(x: Float32) -> npt.NDArray[np.uint8]:
    """Pixels of images [N, C, H, W], in which NaN is black."""
    return to_pixels(np.clip(np.nan_to_num(x, nan=-1.0), -1, 1))


def _picture(image: npt.NDArray[np.uint8]) -> Picture:
    """Of an image [H, W, C]."""
    return _encoded(grid(image[None]))


def _encoded(image: Image) -> Picture:
    return Picture("data:image/png;base64," + base64.b64encode(png(image)).decode("ascii"), *image.size)
