"""New weights of the same architecture into an existing artifact, its engines included."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from ddgan_deploy.artifact.copying import copy_others
from ddgan_deploy.artifact.manifest import MANIFEST, SAMPLER, SERVED, WEIGHTS, Artifact, Manifest
from ddgan_deploy.artifact.reading import read_artifact, read_sampler
from ddgan_deploy.artifact.staging import staged
from ddgan_deploy.artifact.subgraphs import with_bodies
from ddgan_deploy.engines.tensorrt.plan import PlanInfo, plan_name, write_plan_info
from ddgan_deploy.errors import InputError
from ddgan_deploy.export.loop_choice import LoopChoice
from ddgan_deploy.export.pipeline import build_graphs
from ddgan_deploy.export.precision.int8.symmetry import is_symmetric
from ddgan_deploy.export.proof import ExportResult, checked, prove
from ddgan_deploy.export.rebuild import plan_infos
from ddgan_deploy.export.recipe import Recipe
from ddgan_deploy.export.report.write import REPORT, SAMPLES
from ddgan_deploy.export.repository.write import REPOSITORY
from ddgan_deploy.export.tensorrt.choice import Choice
from ddgan_deploy.export.tensorrt.engines import build_engines, is_engine_file
from ddgan_deploy.export.tensorrt.job import log_path
from ddgan_deploy.export.tensorrt.options import EngineOptions
from ddgan_deploy.export.tensorrt.parser_graph import parser_model
from ddgan_deploy.export.tensorrt.refit import refit_engine
from ddgan_deploy.export.web.write import WEB, has_web, renew_web
from ddgan_deploy.families.registry import model_and_sampling
from ddgan_deploy.gpu import has_gpu
from ddgan_deploy.kernels.older import is_older
from ddgan_deploy.progress import Clock, Progress, no_progress
from ddgan_deploy.same_network import load_same
from ddgan_deploy.weight_files.kinds import Weights

_WEIGHT_TYPES = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.INT8,
    onnx.TensorProto.UINT8,
)
_MADE = (MANIFEST, SAMPLER, SERVED, WEIGHTS, REPORT, SAMPLES, REPOSITORY)


@dataclass(frozen=True)
class RefitOptions:
    """New weights, and where they go.

    Attributes:
        folder: the artifact.
        checkpoint: a file as for an export.
        config: the training script's arguments, as for an export; None: what the weights do not tell is as it was.
        weights: of a training state, "ema" or "raw"; None: as at the export.
        steps, fp16, int8: as in `ExportOptions`, where the user states them: they must be the artifact's.
        verify: run the parity gates.
        asked: as in `ExportOptions`.
    """

    folder: Path
    checkpoint: Path
    config: Path | None = None
    weights: Weights | None = None
    steps: int | None = None
    fp16: bool = False
    verify: bool = True
    int8: bool = False
    asked: Mapping[str, Any] = field(default_factory=dict)


def refit(options: RefitOptions, progress: Progress = no_progress) -> ExportResult:
    """Puts the weights of a checkpoint into an artifact.

    The graphs are made again and must be the same but for the weights. TensorRT's engines take these through
    the refitter; TensorRT-RTX's, which have none without a GPU, are built again.

    Raises:
        InputError: anything but the weights differs, the graphs are older ones, or an engine cannot be refitted here;
            nothing is changed.
        GateError: an engine does not take the weights; nothing is changed.
        FailedGate: the new artifact does not compute what the checkpoint does; it is kept under another name.
    """
    clock = Clock(progress)
    with clock.stop("Read the artifact"):
        artifact = read_artifact(options.folder)
        # What the manifest says of the graph is what the new one is made by.
        read_sampler(artifact)
        infos = plan_infos(artifact)
        _check_stated(artifact.manifest, options)
        _check_refittable(artifact, infos)
    with clock.stop("Read the checkpoint"):
        recipe = _recipe(artifact, options)
    with staged(options.folder, overwrite=True) as staging:
        manifest = _graphs(staging.path, artifact, recipe, clock)
        made = (*_MADE, *([WEB] if has_web(options.folder) else []))
        copy_others(options.folder, staging.path, lambda name: name in made or is_engine_file(name))

        def engines(new: Artifact) -> Sequence[PlanInfo]:
            return [made for info in infos for made in _engines(artifact, new, info, clock)]

        # The times stay, but not which engines hold the gates.
        tuned = artifact.manifest.tuned is not None
        choice = Choice(infos[0].runtime if infos else None, "as it was")
        result = prove(staging, manifest, recipe.checkpoint, choice, engines, clock, options.verify, tuned)
        if not result.failure():
            renew_web(Artifact(staging.path, result.artifact.manifest), options.folder)
    return checked(result)


def _check_stated(manifest: Manifest, options: RefitOptions) -> None:
    folder = options.folder
    if options.steps is not None and options.steps != manifest.steps:
        raise InputError(f"{folder} has {manifest.steps} steps, not {options.steps}: leave --steps out, or export anew")
    for stated, precision in ((options.fp16, "fp16"), (options.int8, "int8")):
        if stated and manifest.precision != precision:
            raise InputError(f"{folder} is in {manifest.precision}: leave --{precision} out, or export anew")


def _check_refittable(artifact: Artifact, infos: Sequence[PlanInfo]) -> None:
    # A rebuild leaves them in an artifact whose manifest is of today.
    if is_older(onnx.load(artifact.path / SAMPLER, load_external_data=False)):
        raise InputError(
            f"{artifact.path} has graphs of format 1, whose ops are made no more, so they take no new weights: "
            "export it anew"
        )
    for info in infos:
        if info.runtime == "tensorrt":
            plan = artifact.path / plan_name(info)
            if not info.refittable:
                raise InputError(
                    f"{plan} was not built to be refitted: export anew, with --refittable for the next time"
                )
            if not has_gpu():
                raise InputError(f"{plan} can be refitted on its GPU alone, and here is none: run it there")


def _recipe(artifact: Artifact, options: RefitOptions) -> Recipe:
    """As the artifact was made, with the new weights."""
    old = artifact.manifest
    checkpoint = load_same(
        artifact, options.checkpoint, options.config, options.weights, "export it anew", options.asked
    )
    _, sampling = model_and_sampling(old.family)
    symmetric = old.precision == "int8" and is_symmetric(artifact.path / SAMPLER)
    loop: LoopChoice = "always" if old.looped else "never"
    return Recipe(checkpoint, sampling, old.precision, old.serving, symmetric, old.kept_fp32, loop=loop)


def _graphs(folder: Path, artifact: Artifact, recipe: Recipe, clock: Clock) -> Manifest:
    """The graphs of the new weights.

    Raises:
        InputError: they differ from the artifact's in more than weights.
    """
    manifest = build_graphs(folder, recipe, clock)
    for name in (SAMPLER, SERVED):
        difference = structural_difference(artifact.path / name, folder / name)
        if difference:
            raise InputError(
                f"the new weights make another {name} than {artifact.path} has ({difference}): export anew"
            )
    return manifest


def structural_difference(old: Path, new: Path) -> str:
    """The first thing but weights in which two graphs differ, or nothing."""
    graphs = [_without_weights(path) for path in (old, new)]
    for nodes in zip(graphs[0].node, graphs[1].node, strict=False):
        if nodes[0] != nodes[1]:
            return f"at node {nodes[1].name}"
    weights = [{tensor.name: tensor for each in with_bodies(graph) for tensor in each.initializer} for graph in graphs]
    for name in weights[0].keys() | weights[1].keys():
        if weights[0].get(name) != weights[1].get(name):
            return f"at weight {name}"
    return "" if graphs[0] == graphs[1] else "at its inputs, outputs or number of nodes"


def _without_weights(path: Path) -> onnx.GraphProto:
    """A graph whose weights, scales and zero points have a shape and a type, but no values."""
    graph = onnx.load(path, load_external_data=False).graph
    for tensor in [tensor for each in with_bodies(graph) for tensor in each.initializer]:
        if tensor.data_type in _WEIGHT_TYPES:
            for name in ("raw_data", "float_data", "int32_data", "external_data", "data_location"):
                tensor.ClearField(name)
    return graph


def _engines(old: Artifact, new: Artifact, info: PlanInfo, clock: Clock) -> Sequence[PlanInfo]:
    """One engine of the old artifact with the new one's weights."""
    if info.runtime == "tensorrt-rtx":
        options = EngineOptions(profile=info.profile, targets=info.compute_capabilities)
        return build_engines(new, info.runtime, options, clock)
    name = plan_name(info)
    with clock.stop(f"Refit {name}"):
        model = parser_model(new.path / info.graph, info.kernels, info.precision)
        refit_engine(old.path / name, model, new.path / info.graph, new.path / name)
    shutil.copy(log_path(old.path / name), log_path(new.path / name))
    files = new.manifest.files
    refitted = dataclasses.replace(
        info, graph_sha256=files[info.graph].sha256, weights_sha256=files[WEIGHTS].sha256, parity=None
    )
    write_plan_info(new.path / name, refitted)
    return [refitted]
