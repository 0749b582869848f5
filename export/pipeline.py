"""The stops from a checkpoint to an artifact, in their order."""

from __future__ import annotations

import dataclasses
import datetime
import json
import platform
from collections.abc import Callable, Collection, Sequence
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
from ddgan_deploy.export.cpu_engine import prove_cpu_engine
from ddgan_deploy.export.engine_choice import Choice, choose_engine
from ddgan_deploy.export.engines import build_engines, engine_files, is_engine_file, prove_engines
from ddgan_deploy.export.graph import save
from ddgan_deploy.export.model_repository import write_model_repository
from ddgan_deploy.export.options import ExportOptions
from ddgan_deploy.export.precision import to_float16
from ddgan_deploy.export.progress import Clock, Progress, no_progress
from ddgan_deploy.export.quantization import Calibration, to_int8
from ddgan_deploy.export.report import write_report
from ddgan_deploy.export.serving_backends import check_backend
from ddgan_deploy.export.serving_graph import seed_to_pixels
from ddgan_deploy.export.simplify import simplified_sampler
from ddgan_deploy.export.trace import trace
from ddgan_deploy.noise import draw
from ddgan_deploy.parity import SMALL_IMAGE, Verification, verify
from ddgan_deploy.plan import PlanInfo
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
        choice: which runtime made engines, and why.
        engines: what was made.
    """

    artifact: Artifact
    timings: tuple[tuple[str, float], ...]
    choice: Choice
    engines: tuple[PlanInfo, ...] = ()

    def failure(self) -> str:
        """The first gate that failed, on one line; "" where all held."""
        manifest = self.artifact.manifest
        parities = (manifest.parity, manifest.cpu_parity, *(info.parity for info in self.engines))
        failed = [gate.failure() for parity in parities if parity is not None for gate in parity.failures]
        return failed[0] if failed else ""


class FailedGate(GateError):
    """A parity gate failed; the artifact was kept under a name that says so.

    Attributes:
        result: the export, as it was kept.
    """

    def __init__(self, message: str, result: ExportResult) -> None:
        super().__init__(message)
        self.result = result


def export(options: ExportOptions, progress: Progress = no_progress) -> ExportResult:
    """Turns a checkpoint into an artifact folder.

    Args:
        options: what to export.
        progress: told of every stop.

    Raises:
        InputError: the checkpoint, the options or the target are wrong; nothing is left behind.
        GateError: an engine cannot be built; nothing is left behind.
        FailedGate: the artifact does not compute what the checkpoint does.
    """
    options.check()
    choice = choose_engine(options.engine, options.engine_options, options.precision)
    check_backend(options.serving, options.engine_options.profile if choice.runtime == "tensorrt" else None)
    clock = Clock(progress)
    with clock.stop("Read the checkpoint"):
        checkpoint = load_checkpoint(options.checkpoint, options.config, options.weights)
        schedule = checkpoint.schedule(options.steps)
    with staged(options.target, options.overwrite) as staging:
        manifest = build_graphs(staging.path, checkpoint, schedule, options, clock)

        def engines(artifact: Artifact) -> Sequence[PlanInfo]:
            return build_engines(artifact, choice.runtime, options.engine_options, clock) if choice.runtime else ()

        result = prove(staging, manifest, checkpoint, choice, engines, clock, options.verify)
    return checked(result)


def checked(result: ExportResult) -> ExportResult:
    """The result, if no gate failed.

    Raises:
        FailedGate: one did.
    """
    failure = result.failure()
    if failure:
        raise FailedGate(f"{failure}; the artifact is kept as {result.artifact.path}", result)
    return result


def build_graphs(
    folder: Path,
    checkpoint: Checkpoint,
    schedule: Schedule,
    options: ExportOptions,
    clock: Clock,
    kept_too: Sequence[KeptLayer] | None = None,
    without: Collection[str] = (),
) -> Manifest:
    """Writes the graphs and their weights.

    ``kept_too`` stays in fp32 in any case, and of an int8 graph nothing else does; the rewrites ``without`` are left
    out.
    """
    generator = checkpoint.generator()
    with clock.stop("Trace the generator"):
        traced = trace(generator)
    with clock.stop(f"Unroll {schedule.steps} steps"):
        sampler = simplified_sampler(traced, generator, schedule, without)
    kept: tuple[KeptLayer, ...] = ()
    if options.fp16:
        with clock.stop("Measure activations for fp16"):
            config = checkpoint.config
            seeds = range(2 if config.image_size <= SMALL_IMAGE else 1)
            noise = draw(seeds, config.image_shape, config.nz, schedule.steps)
            kept = to_float16(sampler, activation_ranges(sampler, noise, folder), kept_too or ())
    if options.int8:
        with clock.stop("Measure layers for int8"):
            calibration = Calibration.of(checkpoint.config, schedule.steps)
            kept = to_int8(sampler, calibration, folder, options.symmetric, kept_too)
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
        serving=options.serving,
    )


def prove(
    staging: Staging,
    manifest: Manifest,
    checkpoint: Checkpoint,
    choice: Choice,
    engines: Callable[[Artifact], Sequence[PlanInfo]],
    clock: Clock,
    verified: bool = True,
) -> ExportResult:
    """Runs the gates, makes the engines of graphs that hold, writes what people look at, and last the manifest.

    Args:
        staging: folder with the graphs.
        manifest: of them.
        checkpoint: what they should compute.
        choice: which runtime makes engines.
        engines: makes them in the folder of the artifact that it is given.
        clock: told of every stop.
        verified: whether gates are run.
    """
    folder = staging.path
    engine = OnnxRuntime(Artifact(folder, manifest))
    verification = None
    if verified:
        with clock.stop("Verify against PyTorch"):
            verification = verify(checkpoint, engine)
        manifest = dataclasses.replace(manifest, parity=verification.result)
    manifest = dataclasses.replace(manifest, files=file_infos(folder, [SAMPLER, SERVED, WEIGHTS]))
    infos: Sequence[PlanInfo] = ()
    if verification is None or verification.result.passed:
        artifact = Artifact(folder, manifest)
        infos = engines(artifact)
        if verification is not None:
            seeds, reference = verification.result.seeds, verification.reference.x_prev[-1]
            manifest = dataclasses.replace(manifest, cpu_parity=prove_cpu_engine(artifact, clock, seeds, reference))
            infos = prove_engines(artifact, infos, seeds, reference, clock)
        manifest = with_engine_files(folder, manifest)
    with clock.stop("Draw samples and the report"):
        images = _sample_images(engine, verification)
        write_report(folder, manifest, verification, images, clock.timings, infos)
    return finish(staging, manifest, clock, choice, infos)


def finish(
    staging: Staging, manifest: Manifest, clock: Clock, choice: Choice, infos: Sequence[PlanInfo]
) -> ExportResult:
    """Writes the manifest and the model repository; an artifact of which a gate failed gets a name that says so."""
    write_manifest(staging.path, manifest)
    result = ExportResult(Artifact(staging.target, manifest), tuple(clock.timings), choice, tuple(infos))
    if not result.failure():
        write_model_repository(Artifact(staging.path, manifest), manifest.serving)
        return result
    staging.keep_as(staging.target.with_name(f"{staging.target.name}-FAILED"))
    return dataclasses.replace(result, artifact=Artifact(staging.target, manifest))


def with_engine_files(folder: Path, manifest: Manifest) -> Manifest:
    """The manifest with the engine files that are in the folder now."""
    graphs = {name: info for name, info in manifest.files.items() if not is_engine_file(name)}
    return dataclasses.replace(manifest, files={**graphs, **file_infos(folder, engine_files(folder))})


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
