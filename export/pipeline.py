"""The stops from a checkpoint to an artifact, in their order."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime

import ddgan_deploy
from ddgan_deploy.artifact import (
    FORMAT_VERSION,
    SAMPLER,
    SERVED,
    WEIGHTS,
    Artifact,
    CheckpointInfo,
    GraphInfo,
    Manifest,
    Staging,
    TensorInfo,
    file_infos,
    staged,
    write_manifest,
)
from ddgan_deploy.checkpoint import Checkpoint, load_checkpoint
from ddgan_deploy.diffusion import Schedule
from ddgan_deploy.engines.onnxruntime import OnnxRuntime
from ddgan_deploy.errors import GateError
from ddgan_deploy.export.calibration import activation_ranges
from ddgan_deploy.export.graph import save
from ddgan_deploy.export.options import ExportOptions
from ddgan_deploy.export.precision import to_float16
from ddgan_deploy.export.report import write_report
from ddgan_deploy.export.rewrites.time_bias import fold_time_biases
from ddgan_deploy.export.serving_graph import seed_to_pixels
from ddgan_deploy.export.trace import trace
from ddgan_deploy.export.unroll import unroll
from ddgan_deploy.noise import draw
from ddgan_deploy.parity import SMALL_IMAGE, Verification, verify
from ddgan_deploy.results import KeptLayer

_PACKAGES = ("torch", "onnx", "onnxscript", "onnx-ir", "numpy")
_SAMPLES = 16
_LARGE_SAMPLES = 2


@dataclass(frozen=True)
class ExportResult:
    """A finished export.

    Attributes:
        artifact: the folder and its manifest.
        timings: (stop, seconds), in order.
    """

    artifact: Artifact
    timings: tuple[tuple[str, float], ...]


class FailedGate(GateError):
    """A parity gate failed; the artifact was kept under a name that says so.

    Attributes:
        result: the export, as it was kept.
    """

    def __init__(self, message: str, result: ExportResult) -> None:
        super().__init__(message)
        self.result = result


Progress = Callable[[str], contextlib.AbstractContextManager[None]]
"""Wraps a stop: called with its name, entered when it begins, left when it ends."""


def export(options: ExportOptions, progress: Progress = lambda _: contextlib.nullcontext()) -> ExportResult:
    """Turns a checkpoint into an artifact folder.

    Args:
        options: what to export.
        progress: told of every stop.

    Raises:
        InputError: the checkpoint, the options or the target are wrong; nothing is left behind.
        FailedGate: the artifact does not compute what the checkpoint does.
    """
    options.check()
    clock = _Clock(progress)
    with clock.stop("Read the checkpoint"):
        checkpoint = load_checkpoint(options.checkpoint, options.config, options.weights)
        schedule = checkpoint.schedule(options.steps)
    with staged(options.target, options.overwrite) as staging:
        manifest = _build(staging.path, checkpoint, schedule, options, clock)
        result, verification = _prove(staging, manifest, checkpoint, options, clock)
    if verification is not None and not verification.result.passed:
        failure = verification.result.failures[0].failure()
        raise FailedGate(f"{failure}; the artifact is kept as {staging.target}", result)
    return result


class _Clock:
    """Times the stops and tells the user's progress of them."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.timings: list[tuple[str, float]] = []

    @contextlib.contextmanager
    def stop(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        with self.progress(name):
            yield
        self.timings.append((name, time.perf_counter() - start))


def _build(folder: Path, checkpoint: Checkpoint, schedule: Schedule, options: ExportOptions, clock: _Clock) -> Manifest:
    """Writes the graphs and their weights."""
    generator = checkpoint.generator()
    with clock.stop("Trace the generator"):
        traced = trace(generator)
    with clock.stop(f"Unroll {schedule.steps} steps"):
        sampler = unroll(traced, generator, schedule)
        _expect("time_bias", fold_time_biases(sampler.graph), traced.time_biases * schedule.steps)
    kept: tuple[KeptLayer, ...] = ()
    if options.fp16:
        with clock.stop("Measure activations for fp16"):
            config = checkpoint.config
            seeds = range(2 if config.image_size <= SMALL_IMAGE else 1)
            noise = draw(seeds, config.image_shape, config.nz, schedule.steps)
            kept = to_float16(sampler, activation_ranges(sampler, noise, folder))
    with clock.stop("Write the graphs"):
        models = {SAMPLER: sampler, SERVED: seed_to_pixels(sampler, checkpoint.config, schedule.steps)}
        graphs = {name: _graph_info(model) for name, model in models.items()}
        save(models, folder, _metadata(checkpoint, schedule, options))
    return Manifest(
        format_version=FORMAT_VERSION,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        checkpoint=CheckpointInfo(
            checkpoint.path.name,
            checkpoint.sha256,
            options.weights,
            sum(weight.numel() for weight in checkpoint.weights.values()),
        ),
        generator=checkpoint.config,
        schedule=schedule,
        steps=schedule.steps,
        precision=options.precision,
        kept_fp32=kept,
        graphs=graphs,
        versions=_versions(),
        parity=None,
    )


def _expect(rewrite: str, count: int, expected: int) -> None:
    if count != expected:
        raise GateError(
            f"the rewrite {rewrite} matched {count} times instead of {expected}: the exporter's graph has changed"
        )


def _prove(
    staging: Staging, manifest: Manifest, checkpoint: Checkpoint, options: ExportOptions, clock: _Clock
) -> tuple[ExportResult, Verification | None]:
    """Runs the gates, writes what people look at, and last the manifest."""
    folder = staging.path
    engine = OnnxRuntime(Artifact(folder, manifest))
    verification = None
    if options.verify:
        with clock.stop("Verify against PyTorch"):
            verification = verify(checkpoint, engine)
        manifest = dataclasses.replace(manifest, parity=verification.result)
        if not verification.result.passed:
            staging.keep_as(staging.target.with_name(f"{staging.target.name}-FAILED"))
    with clock.stop("Draw samples and the report"):
        images = _sample_images(engine, verification)
        manifest = dataclasses.replace(manifest, files=file_infos(folder, [SAMPLER, SERVED, WEIGHTS]))
        write_report(folder, manifest, verification, images, clock.timings)
    write_manifest(folder, manifest)
    return ExportResult(Artifact(staging.target, manifest), tuple(clock.timings)), verification


def _sample_images(engine: OnnxRuntime, verification: Verification | None) -> npt.NDArray[np.uint8]:
    """Images of the first seeds; the gates have drawn some already."""
    count = _SAMPLES if engine.artifact.manifest.generator.image_size <= SMALL_IMAGE else _LARGE_SAMPLES
    drawn = [verification.images] if verification else []
    first = len(drawn[0]) if drawn else 0
    return np.concatenate([*drawn, *([engine.generate(range(first, count))] if count > first else [])])


def _graph_info(model: ir.Model) -> GraphInfo:
    return GraphInfo(
        inputs=tuple(map(_tensor_info, model.graph.inputs)),
        outputs=tuple(map(_tensor_info, model.graph.outputs)),
        nodes=model.graph.num_nodes(),
    )


def _tensor_info(value: ir.Value) -> TensorInfo:
    assert value.shape is not None and value.dtype is not None
    shape = tuple(size if isinstance(size, int) else str(size.value) for size in value.shape)
    return TensorInfo(value.name or "", value.dtype.numpy().name, shape)


def _versions() -> dict[str, str]:
    return {
        "ddgan_deploy": ddgan_deploy.__version__,
        **{package: version(package) for package in _PACKAGES},
        # Not by its package's name, which differs where it has a GPU.
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _metadata(checkpoint: Checkpoint, schedule: Schedule, options: ExportOptions) -> dict[str, str]:
    """What a graph file says of itself, for who holds only the file."""
    return {
        "ddgan_deploy_version": ddgan_deploy.__version__,
        "checkpoint": checkpoint.path.name,
        "checkpoint_sha256": checkpoint.sha256,
        "steps": str(schedule.steps),
        "schedule": json.dumps(dataclasses.asdict(schedule)),
        "precision": options.precision,
        "generator": json.dumps(dataclasses.asdict(checkpoint.config)),
    }
