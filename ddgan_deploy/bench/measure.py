"""All engines in turn, round by round, each in a process of its own."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.artifact.reading import read_sampler
from ddgan_deploy.bench import environment as machine
from ddgan_deploy.bench.doubts import with_doubts
from ddgan_deploy.bench.jobs import RateJob
from ddgan_deploy.bench.limits.graph_cost import graph_cost
from ddgan_deploy.bench.limits.roofline import medians, with_data_sheet
from ddgan_deploy.bench.names import Device
from ddgan_deploy.bench.options import BenchOptions
from ddgan_deploy.bench.per_op import Machine, measure_ops
from ddgan_deploy.bench.process import Worker, WorkerDied, WorkerError
from ddgan_deploy.bench.results import BenchResult, Environment, Opened, PerOp, Rates, Skipped
from ddgan_deploy.bench.rows import Timed, rows_of
from ddgan_deploy.bench.series import Series, all_series, check_checkpoint, read_artifacts
from ddgan_deploy.bench.worker.rates import Measured
from ddgan_deploy.engines.speeds import measured_of, remember
from ddgan_deploy.errors import GateError
from ddgan_deploy.files import written_whole
from ddgan_deploy.gpu import gpu_name, has_gpu
from ddgan_deploy.processor import cpu_model, instruction_sets
from ddgan_deploy.sampler import Dtype
from ddgan_deploy.scratch import scratch_folder

LEAST_RUNS = 3
"""Of a row, however long they take."""
PAUSE = 0.2
"""Seconds before every run: the idle threads of the engine before spin for a while and would take its cores."""

Report = Callable[[float, str], None]
Progress = Callable[[str], contextlib.AbstractContextManager[Report]]
"""Wraps a stop: called with its name, entered when it begins, left when it ends."""


def no_progress(name: str) -> contextlib.AbstractContextManager[Report]:
    """A `Progress` that nobody sees."""
    return contextlib.nullcontext(lambda share, what: None)


def run(
    options: BenchOptions, progress: Progress = no_progress, so_far: Callable[[BenchResult], None] | None = None
) -> BenchResult:
    """Measures every engine at every batch size, and writes the JSON and the plot that are asked for.

    Args:
        so_far: is given, after each batch size, what there is until then.

    An engine that is not installed, cannot run here or dies costs its own rows alone, and is among the result's
    ``skipped``. No process outlives the call.

    Raises:
        InputError: the options are wrong, an artifact or the checkpoint cannot be read. Nothing is written.
        GateError: no engine could be measured. Nothing is written.
    """
    options.check()
    artifacts = read_artifacts(options.artifacts)
    if options.checkpoint:
        check_checkpoint(options.checkpoint, artifacts[0])
    graphs = {artifact.path: read_sampler(artifact) for artifact in artifacts}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch_folder("ddgan-bench-"))
        bench = _Bench(options, folder, stack, progress)
        bench.open(all_series(options, artifacts))
        for batch in sorted(options.batches):
            bench.measure(batch)
            if so_far is not None:
                so_far(bench.result(artifacts[0], graphs))
        bench.close()
        here = Machine(options, folder, bench.machine_rates(), graphs)
        per_op = _per_op(here, artifacts, bench.skipped, progress) if options.per_op else ()
    if not bench.timed:
        raise GateError(f"nothing could be measured: {bench.skipped[0].engine}: {bench.skipped[0].reason}")
    result = bench.result(artifacts[0], graphs, per_op)
    _write(result, options)
    _remember(result, options, artifacts)
    return result


@dataclass(frozen=True, eq=False)
class _Running:
    """An opened engine."""

    series: Series
    worker: Worker
    opened: Opened


@dataclass
class _Bench:
    """What is measured, and what came of it so far."""

    options: BenchOptions
    folder: Path
    stack: contextlib.ExitStack
    progress: Progress
    running: list[_Running] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    timed: list[Timed] = field(default_factory=list)
    rates: list[Measured] = field(default_factory=list)
    rate_worker: Worker | None = None

    def open(self, wanted: Sequence[Series]) -> None:
        """Starts every engine that can be, one after the other."""
        for number, series in enumerate(wanted):
            if series.device == "cuda" and not has_gpu():
                self._skip(series, "it needs an NVIDIA GPU and its driver, and here is none")
                continue
            with self.progress(f"Open {series.title}"):
                try:
                    worker = Worker(series.job(self.options), self.folder / str(number), self.options.timeout)
                    self.stack.enter_context(worker)
                    self.running.append(_Running(series, worker, worker.ask("opened")))
                except WorkerError as error:
                    self._skip(series, str(error))
        self._open_rates()

    def measure(self, batch: int) -> None:
        """Runs all engines in turn until each has run often enough."""
        with self.progress(f"Batch {batch}") as report:
            times: dict[_Running, list[float]] = {}
            for number, running in enumerate(self.running):
                report(0.0, f"warm up {running.series.title} ({number + 1} of {len(self.running)})")
                if self._ask(running, batch, "prepare", batch) is not None:
                    times[running] = []
            while unfinished := [running for running, seen in times.items() if not self._enough(seen)]:
                for running in unfinished:
                    report(min(map(len, times.values())) / self.options.runs, running.series.title)
                    time.sleep(PAUSE)
                    answer = self._ask(running, batch, "measure")
                    if answer is None:
                        del times[running]
                    else:
                        times[running].append(answer[0])
                self._measure_rates()
            for running, seen in times.items():
                if answer := self._ask(running, batch, "memory"):
                    self.timed.append(Timed(running.series, running.opened, batch, tuple(seen), *answer[0]))

    def close(self) -> None:
        """Ends all processes."""
        for running in self.running:
            running.worker.close()
        if self.rate_worker:
            self.rate_worker.close()

    def machine_rates(self) -> dict[Device, Rates]:
        """What the machine did at best so far; of a GPU that was not measured, its data sheet's."""
        return with_data_sheet(medians(self.rates), gpu_name())

    def result(
        self, artifact: Artifact, graphs: dict[Path, onnx.ModelProto], per_op: tuple[PerOp, ...] = ()
    ) -> BenchResult:
        """What there is so far."""
        rates = self.machine_rates()
        rows = with_doubts(rows_of(self.timed, graphs, rates))
        return BenchResult(rows, tuple(self.skipped), _environment(self.options, artifact, rates, graphs), per_op)

    def _ask(self, running: _Running, batch: int, method: str, *arguments: object) -> tuple[Any] | None:
        """The answer in a tuple; None where there is none, and the reason is noted."""
        try:
            return (running.worker.ask(method, *arguments),)
        except WorkerDied as error:
            self.running.remove(running)
            self._skip(running.series, f"{error} (at batch {batch})")
        except WorkerError as error:
            self._skip(running.series, str(error), batch)
        return None

    def _skip(self, series: Series, reason: str, batch: int | None = None) -> None:
        precision = series.precision if series.runs_artifact else None
        self.skipped.append(Skipped(series.engine, reason, precision, batch))

    def _enough(self, seconds: Sequence[float]) -> bool:
        runs, limit = self.options.runs, self.options.seconds
        return len(seconds) >= runs or (len(seconds) >= LEAST_RUNS and sum(seconds) >= limit)

    def _open_rates(self) -> None:
        wanted: dict[Device, tuple[Dtype, ...]] = {}
        for running in self.running:
            device, dtype = running.series.device, running.series.dtype
            wanted[device] = tuple(dict.fromkeys((*wanted.get(device, ("float32",)), dtype)))
        if not wanted:
            return
        with self.progress("Open the measurement of the machine's own rates"):
            try:
                self.rate_worker = Worker(
                    RateJob(wanted, self.options.cores), self.folder / "rates", self.options.timeout
                )
                self.stack.enter_context(self.rate_worker)
            except WorkerError as error:
                self.skipped.append(Skipped("roofline", str(error)))

    def _measure_rates(self) -> None:
        if self.rate_worker is None:
            return
        time.sleep(PAUSE)
        try:
            self.rates.append(self.rate_worker.ask("measure"))
        except WorkerError as error:
            self.skipped.append(Skipped("roofline", str(error)))
            self.rate_worker.close()
            self.rate_worker = None


def _per_op(
    here: Machine, artifacts: Sequence[Artifact], skipped: list[Skipped], progress: Progress
) -> tuple[PerOp, ...]:
    """Where the time of the engine goes that the options name, for every artifact."""
    found = []
    for artifact in artifacts:
        with progress(f"Time the ops of {here.options.per_op}, {artifact.manifest.precision}"):
            try:
                found.append(measure_ops(here, artifact))
            except WorkerError as error:
                reason = f"its ops cannot be timed: {error}"
                skipped.append(Skipped(str(here.options.per_op), reason, artifact.manifest.precision))
    return tuple(found)


def _environment(
    options: BenchOptions, artifact: Artifact, rates: dict[Device, Rates], graphs: dict[Path, onnx.ModelProto]
) -> Environment:
    manifest = artifact.manifest
    return Environment(
        cpu=cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        threads=options.cores,
        isa=instruction_sets(),
        memory_gb=machine.memory_gb(),
        gpu=gpu_name(),
        os=platform.platform(),
        python=platform.python_version(),
        versions=machine.versions(),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        checkpoint_sha256=manifest.checkpoint.sha256,
        pytorch_weights=options.checkpoint.name if options.checkpoint else "random",
        image=manifest.sampler.image,
        steps=manifest.steps,
        gflop_per_image=graph_cost(graphs[artifact.path]).flops / 1e9,
        rates=rates,
    )


def _remember(result: BenchResult, options: BenchOptions, artifacts: Sequence[Artifact]) -> None:
    """Keeps the order of the engines, where it holds for who opens an artifact without saying how."""
    if options.cores != len(os.sched_getaffinity(0)):
        return
    for artifact in artifacts:
        speeds = measured_of(result.rows, artifact)
        if len(speeds.milliseconds) > 1:
            remember(artifact, speeds)


def _write(result: BenchResult, options: BenchOptions) -> None:
    with contextlib.ExitStack() as outputs:
        if options.json:
            text = json.dumps(result.as_dict(), indent=2) + "\n"
            outputs.enter_context(written_whole(options.json)).write_text(text)
        if options.plot:
            from ddgan_deploy.bench.plot import plot

            plot(result, outputs.enter_context(written_whole(options.plot)))
