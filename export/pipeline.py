"""The stops from a checkpoint to an artifact, in their order."""

from __future__ import annotations

import dataclasses
import datetime
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import onnx
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
)
from ddgan_deploy.artifact.results import KeptLayer
from ddgan_deploy.artifact.staging import staged
from ddgan_deploy.bench.limits.graph_cost import graph_cost
from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.engines.tensorrt.plan import PlanInfo
from ddgan_deploy.errors import InputError
from ddgan_deploy.export.families.base import graph_family
from ddgan_deploy.export.graph.loop import loops
from ddgan_deploy.export.graph.save import save
from ddgan_deploy.export.graph.served import seed_to_pixels
from ddgan_deploy.export.options import ExportOptions
from ddgan_deploy.export.precision.float16 import to_float16
from ddgan_deploy.export.precision.int8 import Calibration, to_int8
from ddgan_deploy.export.precision.ranges import activation_ranges
from ddgan_deploy.export.proof import ExportResult, checked, prove
from ddgan_deploy.export.recipe import Recipe
from ddgan_deploy.export.repository.backends import check_backend
from ddgan_deploy.export.tensorrt.choice import choose_engine
from ddgan_deploy.export.tensorrt.engines import build_engines
from ddgan_deploy.export.web.package import read_package
from ddgan_deploy.export.web.write import check_web, write_web
from ddgan_deploy.families.registry import info_of
from ddgan_deploy.names import recorded
from ddgan_deploy.parity.verify import trial
from ddgan_deploy.progress import Clock, Progress, no_progress

_MOST_INT8_NODES = 10_000
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
    runtime = None if options.web is None else read_package(options.web)
    clock = Clock(progress)
    with clock.stop("Read the checkpoint"):
        checkpoint = load_checkpoint(options.checkpoint, options.config, options.weights, asked=options.asked)
        sampling = checkpoint.choose(options.steps)
    options = dataclasses.replace(options, steps=checkpoint.family.sampler(checkpoint.model, sampling).steps)
    recipe = Recipe(checkpoint, sampling, options.precision, options.serving, options.symmetric, loop=options.loop)
    with staged(options.target, options.overwrite) as staging:
        manifest = build_graphs(staging.path, recipe, clock)
        if runtime is not None:
            check_web(Artifact(staging.path, manifest))

        def engines(artifact: Artifact) -> Sequence[PlanInfo]:
            return build_engines(artifact, choice.runtime, options.engine_options, clock) if choice.runtime else ()

        result = prove(staging, manifest, checkpoint, choice, engines, clock, options.verify, options.tune)
        if runtime is not None and not result.failure():
            write_web(Artifact(staging.path, result.artifact.manifest), runtime)
    return checked(result)


def build_graphs(folder: Path, recipe: Recipe, clock: Clock) -> Manifest:
    """Writes the graphs and their weights, and returns what the manifest says of them."""
    checkpoint, sampling, precision = recipe.checkpoint, recipe.sampling, recipe.precision
    family, model = checkpoint.family, checkpoint.model
    sampler, probes = family.sampler(model, sampling), family.probes(model, sampling)
    with clock.stop("Trace the generator" + (f", {sampler.steps} steps" if sampler.steps > 1 else "")):
        # int8 has scales for each step, which a Loop has not.
        loop = "never" if precision == "int8" else recipe.loop
        graph = graph_family(family).build(checkpoint.reference(sampling), sampler, recipe.without, loop)
    kept: tuple[KeptLayer, ...] = ()
    if precision == "int8":
        _check_size(graph, sampler.steps)
    if precision == "fp16":
        with clock.stop("Measure activations for fp16"):
            inputs = trial(sampler, range(2 if sampler.is_small else 1)).inputs
            kept = to_float16(graph, activation_ranges(graph, inputs, folder), recipe.kept or ())
    if precision == "int8":
        with clock.stop("Measure layers for int8"):
            kept = to_int8(graph, sampler, probes, Calibration.of(sampler), folder, recipe.symmetric, recipe.kept)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        checkpoint=CheckpointInfo(
            recorded(checkpoint.path.name),
            checkpoint.sha256,
            checkpoint.kind,
            sum(weight.numel() for weight in checkpoint.weights.values()),
        ),
        family=info_of(family, model, sampling),
        sampler=sampler,
        probes=probes,
        steps=sampler.steps,
        precision=precision,
        kept_fp32=kept,
        graphs={},
        versions=_versions(),
        parity=None,
        serving=recipe.serving,
        assumed=checkpoint.assumed(sampling),
        facts=family.facts(model, sampling),
        looped=any(loops(graph.graph)),
    )
    with clock.stop("Write the graphs"):
        models = {SAMPLER: graph, SERVED: seed_to_pixels(graph, sampler)}
        graphs = {name: _graph_info(model) for name, model in models.items()}
        save(models, folder, _metadata(manifest))
    cost = graph_cost(onnx.load(folder / SAMPLER, load_external_data=False))
    return dataclasses.replace(manifest, graphs=graphs, gflops=round(cost.flops / 1e9, 3))


def _check_size(graph: ir.Model, steps: int) -> None:
    """Refuses what int8 would measure for hours: dozens of graphs are opened, in time quadratic in their nodes.

    Raises:
        InputError: there are too many copies of a step.
    """
    nodes = sum(1 for _ in graph.graph.all_nodes())
    if nodes > _MOST_INT8_NODES:
        fewer = max(1, steps * _MOST_INT8_NODES // nodes)
        raise InputError(
            f"--int8 has a copy of every step, and {steps} of these are {nodes:,} nodes, which would take hours: give "
            f"at most --steps {fewer}, or --fp16"
        )


def _graph_info(model: ir.Model) -> GraphInfo:
    return GraphInfo(
        inputs=tuple(map(_tensor_info, model.graph.inputs)),
        outputs=tuple(map(_tensor_info, model.graph.outputs)),
        nodes=sum(1 for _ in model.graph.all_nodes()),
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


def _metadata(manifest: Manifest) -> dict[str, str]:
    """What a graph file says of itself, for who holds only the file."""
    return {
        "ddgan_deploy_version": ddgan_deploy.__version__,
        "checkpoint": manifest.checkpoint.file,
        "checkpoint_sha256": manifest.checkpoint.sha256,
        "steps": str(manifest.steps),
        "precision": manifest.precision,
        "family": manifest.family.name,
        "model": json.dumps(manifest.family.model),
        "sampling": json.dumps(manifest.family.sampling),
        "assumed": json.dumps({assumed.name: assumed.value for assumed in manifest.assumed}),
    }
