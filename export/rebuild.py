"""The engines and the model repository of an existing artifact anew; the checkpoint is not needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from ddgan_deploy.artifact.copying import copy_others
from ddgan_deploy.artifact.manifest import MANIFEST, SAMPLER, Artifact
from ddgan_deploy.artifact.reading import read_artifact, read_sampler
from ddgan_deploy.artifact.serving import Serving, check_serving
from ddgan_deploy.artifact.staging import staged
from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime
from ddgan_deploy.engines.tensorrt.plan import PLANS, PlanInfo, Runtime, has_plans, read_plan_info
from ddgan_deploy.errors import InputError
from ddgan_deploy.export.precision.int8.symmetry import check_symmetric
from ddgan_deploy.export.proof import ExportResult, checked, finish, with_engine_files
from ddgan_deploy.export.report.engines import replace_engines
from ddgan_deploy.export.report.write import REPORT
from ddgan_deploy.export.repository.cpu_engine import check_cpu_engine, prove_cpu_engine
from ddgan_deploy.export.repository.write import REPOSITORY
from ddgan_deploy.export.tensorrt.choice import Choice, choose_engine
from ddgan_deploy.export.tensorrt.engines import build_engines, is_engine_file, prove_engines
from ddgan_deploy.export.tensorrt.options import EngineChoice, EngineOptions
from ddgan_deploy.export.tuning import tune
from ddgan_deploy.export.web.package import read_package
from ddgan_deploy.export.web.write import WEB, check_place, check_web, write_web
from ddgan_deploy.gpu import has_gpu
from ddgan_deploy.parity.budget import seeds_of
from ddgan_deploy.parity.verify import trial
from ddgan_deploy.progress import Clock, Progress, no_progress
from ddgan_deploy.sampler import Precision

_NO_ENGINES = "the model repository{page} and " + MANIFEST + " alone were made anew, all else is as it was"


def rebuild(
    folder: Path,
    engine: EngineChoice,
    options: EngineOptions,
    progress: Progress = no_progress,
    serving: Callable[[Serving], Serving] = lambda old: old,
    tuned: bool = False,
    web: Path | None = None,
) -> ExportResult:
    """Builds a runtime's engines into an artifact, and its model repository; engines of other runtimes stay.

    On a GPU the gates compare them with the artifact's own graph on ONNX Runtime, which the export
    compared with PyTorch.

    Args:
        folder: the artifact.
        engine: "none" makes none: the model repository, and a page, alone.
        options: how to build engines.
        progress: told of every stop.
        serving: from the options of the artifact's model repository to those of the new one.
        tuned: whether the engines of the CPU are measured; else what was measured before stays.
        web: as in `ExportOptions`; None: a page that is there stays.

    Raises:
        InputError: the folder is no whole artifact, no engine can be built here, or TensorRT does not take its graph.
        GateError: an engine cannot be built; the artifact stays as it was.
        FailedGate: an engine does not compute what the graph does; it is kept under a name that says so.
    """
    options.check()
    runtime = None if web is None else read_package(web)
    clock = Clock(progress)
    with clock.stop("Read the artifact"):
        artifact = read_artifact(folder)
        # What the manifest says of the graph is what engines and the model repository are made by.
        read_sampler(artifact)
        choice = _choose(engine, options, artifact.manifest.precision, web is not None)
        manifest = dataclasses.replace(artifact.manifest, serving=serving(artifact.manifest.serving))
        check_serving(manifest.serving)
        check_cpu_engine(manifest.serving, manifest.precision)
        if choice.runtime is not None:
            check_symmetric(folder / SAMPLER)
        if runtime is not None:
            check_place(folder)
            check_web(artifact)
        others = plan_infos(artifact, but=choice.runtime)
    made = (REPOSITORY, *([] if runtime is None else [WEB]))
    with staged(folder, overwrite=True) as staging:
        copy_others(folder, staging.path, lambda name: name in made or _is_built(name, choice.runtime))
        infos: Sequence[PlanInfo] = ()
        proven = None
        copy = Artifact(staging.path, manifest)
        if manifest.serving.cpu_engine != artifact.manifest.serving.cpu_engine:
            seeds = seeds_of(manifest)
            proven = prove_cpu_engine(copy, clock, seeds)
            manifest = dataclasses.replace(manifest, cpu_parity=proven)
        if tuned:
            manifest = dataclasses.replace(manifest, tuned=tune(copy, clock, seeds_of(manifest)))
        if choice.runtime is not None:
            infos = _prove(copy, build_engines(copy, choice.runtime, options, clock), clock)
            manifest = with_engine_files(staging.path, manifest)
            replace_engines(staging.path / REPORT, manifest, [*infos, *others])
        result = finish(staging, manifest, clock, choice, infos, [proven])
        if runtime is not None and not result.failure():
            write_web(Artifact(staging.path, manifest), runtime)
    return checked(result)


def _choose(engine: EngineChoice, options: EngineOptions, precision: Precision, page: bool) -> Choice:
    """Which runtime's engines are built.

    Raises:
        InputError: one is wanted, and none can be built here.
    """
    if engine == "none":
        return Choice(None, _NO_ENGINES.format(page=", the page" if page else ""))
    choice = choose_engine(engine, options, precision)
    if choice.runtime is None:
        made = "the model repository and the page" if page else "the model repository"
        raise InputError(f"--engine auto builds {choice}; --engine none makes {made} alone")
    return choice


def _is_built(name: str, runtime: Runtime | None) -> bool:
    return runtime is not None and is_engine_file(name, runtime)


def plan_infos(artifact: Artifact, but: Runtime | None = None) -> list[PlanInfo]:
    """Of all engines that an artifact holds, but those of one runtime."""
    return [
        read_plan_info(artifact, name)
        for runtime, names in PLANS.items()
        if runtime != but and has_plans(artifact, runtime)
        for name in names
    ]


def _prove(artifact: Artifact, infos: Sequence[PlanInfo], clock: Clock) -> Sequence[PlanInfo]:
    """The gates against ONNX Runtime, where a GPU can run the engines."""
    if not has_gpu():
        return infos
    sampler = artifact.manifest.sampler
    seeds = seeds_of(artifact.manifest)
    with clock.stop("Run the graph on ONNX Runtime"):
        reference = OnnxRuntime(artifact).sample(trial(sampler, seeds).inputs)
    return prove_engines(artifact, infos, seeds, reference, clock)
