"""The stops from a checkpoint to an artifact, in their order."""

from __future__ import annotations

import dataclasses
import datetime
import json
import platform
from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir
import onnxruntime

import ddgan_deploy
from ddgan_deploy.artifact.manifest import (
    FORMAT_VERSION,
    SAMPLER,
    SERVED,
    Artifact,
    CheckpointInfo,
    GraphInfo,
    Manifest,
    TensorInfo,
    staged,
)
from ddgan_deploy.artifact.results import KeptLayer
from ddgan_deploy.checkpoint import Checkpoint, load_checkpoint
from ddgan_deploy.engines.tensorrt.plan import PlanInfo
from ddgan_deploy.export.graph.rewriting import simplified_sampler
from ddgan_deploy.export.graph.save import save
from ddgan_deploy.export.graph.served import seed_to_pixels
from ddgan_deploy.export.graph.trace import trace
from ddgan_deploy.export.options import ExportOptions
from ddgan_deploy.export.precision.float16 import to_float16
from ddgan_deploy.export.precision.int8 import Calibration, to_int8
from ddgan_deploy.export.precision.ranges import activation_ranges
from ddgan_deploy.export.proof import ExportResult, checked, prove
from ddgan_deploy.export.repository.backends import check_backend
from ddgan_deploy.export.tensorrt.choice import choose_engine
from ddgan_deploy.export.tensorrt.engines import build_engines
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.names import recorded
from ddgan_deploy.noise import draw
from ddgan_deploy.parity.verify import SMALL_IMAGE
from ddgan_deploy.progress import Clock, Progress, no_progress

_PACKAGES = ("torch", "onnx", "onnxscript", "onnx-ir", "numpy")


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
    options = dataclasses.replace(options, steps=schedule.steps)
    with staged(options.target, options.overwrite) as staging:
        manifest = build_graphs(staging.path, checkpoint, schedule, options, clock)

        def engines(artifact: Artifact) -> Sequence[PlanInfo]:
            return build_engines(artifact, choice.runtime, options.engine_options, clock) if choice.runtime else ()

        result = prove(staging, manifest, checkpoint, choice, engines, clock, options.verify)
    return checked(result)


def build_graphs(
    folder: Path,
    checkpoint: Checkpoint,
    schedule: Schedule,
    options: ExportOptions,
    clock: Clock,
    kept_too: Sequence[KeptLayer] | None = None,
    without: Collection[str] = (),
    symmetric: bool | None = None,
) -> Manifest:
    """Writes the graphs and their weights.

    ``kept_too`` stays in fp32 in any case, and of an int8 graph nothing else does; the rewrites ``without`` are left
    out. Whether int8 is ``symmetric`` follows, unless it is given, from the engine that is asked for.
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
            kept = to_int8(
                sampler, calibration, folder, options.symmetric if symmetric is None else symmetric, kept_too
            )
    with clock.stop("Write the graphs"):
        models = {SAMPLER: sampler, SERVED: seed_to_pixels(sampler, checkpoint.config, schedule.steps)}
        graphs = {name: _graph_info(model) for name, model in models.items()}
        save(models, folder, _metadata(checkpoint, schedule, options))
    return Manifest(
        format_version=FORMAT_VERSION,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        checkpoint=CheckpointInfo(
            recorded(checkpoint.path.name),
            checkpoint.sha256,
            checkpoint.kind,
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
        assumed=checkpoint.assumed(schedule.steps),
    )


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
        "checkpoint": recorded(checkpoint.path.name),
        "checkpoint_sha256": checkpoint.sha256,
        "steps": str(schedule.steps),
        "schedule": json.dumps(dataclasses.asdict(schedule)),
        "precision": options.precision,
        "generator": json.dumps(dataclasses.asdict(checkpoint.config)),
        "assumed": json.dumps({assumed.name: assumed.value for assumed in checkpoint.assumed(schedule.steps)}),
    }
