"""From the seconds of runs to the rows of the table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from ddgan_deploy.bench.limits.graph_cost import GraphCost, graph_cost
from ddgan_deploy.bench.limits.roofline import graph_ms
from ddgan_deploy.bench.names import REFERENCE, Device
from ddgan_deploy.bench.results import Opened, Rates, Row
from ddgan_deploy.bench.series import Series


@dataclass(frozen=True)
class Timed:
    """What was seen of one engine at one batch size.

    Attributes:
        seconds: of every run.
        peak_mb, gpu_peak_mb: see `Row`.
    """

    series: Series
    opened: Opened
    batch: int
    seconds: tuple[float, ...]
    peak_mb: float
    gpu_peak_mb: float | None


def rows_of(
    timed: Sequence[Timed], graphs: Mapping[Path, onnx.ModelProto], rates: Mapping[Device, Rates]
) -> tuple[Row, ...]:
    """The rows, in the order of batch sizes and of engines.

    Args:
        timed: what was seen.
        graphs: artifact's folder -> its sampler.
        rates: what the devices do at best.
    """
    eager = {(one.series.engine, one.batch): statistics.median(one.seconds) for one in timed}
    costs = {
        (path, batch): graph_cost(graphs[path], batch)
        for path, batch in {(one.series.artifact.path, one.batch) for one in timed}
    }
    return tuple(
        _row(
            one,
            costs[one.series.artifact.path, one.batch],
            rates.get(one.series.device),
            eager.get((REFERENCE[one.series.device], one.batch)),
        )
        for one in timed
    )


def _row(one: Timed, cost: GraphCost, rates: Rates | None, eager: float | None) -> Row:
    series, median = one.series, statistics.median(one.seconds)
    limit = graph_ms(cost, rates, series.dtype)
    return Row(
        engine=series.engine,
        device=series.device,
        precision=series.precision,
        artifact=str(series.artifact.path) if series.runs_artifact else None,
        batch=one.batch,
        runs=len(one.seconds),
        median_ms=1e3 * median,
        p95_ms=1e3 * float(np.percentile(one.seconds, 95)),
        images_per_s=one.batch / median,
        speedup_vs_eager=None if eager is None else eager / median,
        roofline_ms=limit,
        roofline_share=None if limit is None else limit / (1e3 * median),
        peak_mb=one.peak_mb,
        gpu_peak_mb=one.gpu_peak_mb,
        import_s=one.opened.import_s,
        load_s=one.opened.load_s,
    )
