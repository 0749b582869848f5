"""An artifact's graphs -> its TensorRT engines, with the faster kernels and the proof on a GPU."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.manifest import SAMPLER, WEIGHTS, Artifact
from ddgan_deploy.artifact.results import ParityResult
from ddgan_deploy.engines.tensorrt.device import open_device
from ddgan_deploy.engines.tensorrt.engine import TensorRt
from ddgan_deploy.engines.tensorrt.plan import (
    GRAPHS,
    PLAN_FORMAT,
    PLANS,
    TITLES,
    Kernels,
    PlanInfo,
    Runtime,
    info_path,
    plan_name,
    write_plan_info,
)
from ddgan_deploy.engines.tensorrt.runtimes import import_runtime
from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.export.tensorrt.job import EngineJob, log_path
from ddgan_deploy.export.tensorrt.options import DEFAULT_TARGETS, EngineOptions, builds
from ddgan_deploy.export.tensorrt.parser_graph import parser_model
from ddgan_deploy.export.tensorrt.process import build_engine
from ddgan_deploy.gpu import driver_version, has_gpu
from ddgan_deploy.inputs import examples
from ddgan_deploy.parity.verify import trial, verify_outputs
from ddgan_deploy.progress import Clock

_WARM_UPS, _RUNS = 3, 20


@dataclass(frozen=True)
class _Gpu:
    """What an engine is built on."""

    name: str
    compute_capability: str
    driver: str | None


def build_engines(artifact: Artifact, runtime: Runtime, options: EngineOptions, clock: Clock) -> tuple[PlanInfo, ...]:
    """Builds a runtime's engines into an artifact's folder, each with its log and its JSON.

    Args:
        artifact: its manifest lists the graphs' files.
        runtime: that builds them.
        options: how. Where they leave the kernels to us, engines with each kind are timed and the faster are kept.
        clock: told of every stop.

    Raises:
        GateError: an engine cannot be built.
    """
    gpu = _gpu(runtime)
    kinds = builds(options.kernels, runtime)
    if len(kinds) == 1:
        return tuple(_build_all(artifact, artifact.path, runtime, kinds[0], options, gpu, clock))
    return _fastest(artifact, runtime, kinds, options, gpu, clock)


def prove_engines(
    artifact: Artifact,
    infos: Sequence[PlanInfo],
    seeds: Sequence[int],
    reference_x_0: npt.NDArray[np.float32],
    clock: Clock,
) -> list[PlanInfo]:
    """Runs the parity gates on engines that were just made, where there is a GPU that runs them.

    Args:
        artifact: with the engines.
        infos: of the engines; written again, with the result.
        seeds: N of them.
        reference_x_0: [N, C, H, W], what they should give.
        clock: told of the stop.
    """
    proven = []
    for runtime in PLANS:
        parity = None
        made = [info for info in infos if info.runtime == runtime]
        if made and has_gpu():
            with clock.stop(f"Verify {TITLES[runtime]}"):
                parity = _prove(artifact, runtime, seeds, reference_x_0)
        proven += [dataclasses.replace(info, parity=parity) for info in made]
    for info in proven:
        write_plan_info(artifact.path / plan_name(info), info)
    return proven


def engine_files(folder: Path) -> list[str]:
    """Names of the engine files in an artifact's folder, with their JSON and their logs."""
    return sorted(path.name for path in folder.iterdir() if is_engine_file(path.name))


def is_engine_file(name: str, runtime: Runtime | None = None) -> bool:
    """Whether a file of an artifact is an engine, of one runtime or of any, or lies beside one."""
    plans = [plan for owner, names in PLANS.items() for plan in names if runtime in (None, owner)]
    return any(name == path.name for plan in plans for path in _files(Path(plan)))


def _files(plan: Path) -> tuple[Path, ...]:
    return plan, info_path(plan), log_path(plan)


def _prove(
    artifact: Artifact, runtime: Runtime, seeds: Sequence[int], reference_x_0: npt.NDArray[np.float32]
) -> ParityResult | None:
    manifest = artifact.manifest
    try:
        engine = TensorRt(artifact, runtime)
    except InputError:
        if runtime == "tensorrt":
            raise
        # Built for other GPUs than this one.
        return None
    with engine:
        tried = trial(manifest.sampler, seeds)
        return verify_outputs(reference_x_0, engine, tried, manifest.precision, manifest.probes)


def _gpu(runtime: Runtime) -> _Gpu | None:
    if runtime == "tensorrt-rtx":
        return None
    device = open_device(runtime)
    try:
        return _Gpu(device.name, device.compute_capability, driver_version())
    finally:
        device.close()


def _build_all(
    artifact: Artifact,
    folder: Path,
    runtime: Runtime,
    kernels: Kernels,
    options: EngineOptions,
    gpu: _Gpu | None,
    clock: Clock,
) -> list[PlanInfo]:
    """One engine for each of the runtime's graphs, with one kind of kernels."""
    kind = f", {kernels} kernels" if runtime == "tensorrt" else ""
    infos = []
    for name in PLANS[runtime]:
        with clock.stop(f"Build {name} by {TITLES[runtime]}{kind}") as report:
            onnx = artifact.path / GRAPHS[name]
            precision = artifact.manifest.precision
            job = EngineJob(
                runtime=runtime,
                model=parser_model(onnx, kernels, precision),
                onnx=onnx,
                plan=folder / name,
                precision=precision,
                kernels=kernels,
                options=options,
                arch=_arch(gpu, options),
                timing_cache=_timing_cache(artifact, gpu, import_runtime(runtime).__version__),
            )
            seconds = build_engine(job, report)
        infos.append(_info(artifact, job, GRAPHS[name], gpu, seconds))
        write_plan_info(folder / name, infos[-1])
    return infos


def _info(artifact: Artifact, job: EngineJob, graph: str, gpu: _Gpu | None, seconds: float) -> PlanInfo:
    options, files = job.options, artifact.manifest.files
    return PlanInfo(
        format_version=PLAN_FORMAT,
        runtime=job.runtime,
        version=import_runtime(job.runtime).__version__,
        compute_capabilities=(gpu.compute_capability,) if gpu else options.targets or DEFAULT_TARGETS,
        hardware_compatibility=options.hardware_compatibility,
        version_compatible=options.version_compatible,
        graph=graph,
        graph_sha256=files[graph].sha256,
        weights_sha256=files[WEIGHTS].sha256,
        profile=options.profile,
        precision=job.precision,
        kernels=job.kernels,
        refittable=options.refittable,
        gpu=gpu.name if gpu else None,
        driver=gpu.driver if gpu else None,
        build_seconds=round(seconds, 3),
    )


def _arch(gpu: _Gpu | None, options: EngineOptions) -> int:
    """What the fused kernels are compiled for. PTX for Ampere runs on all later GPUs."""
    if gpu is None:
        return 0
    return 80 if options.hardware_compatibility == "ampere_plus" else round(10 * float(gpu.compute_capability))


def _timing_cache(artifact: Artifact, gpu: _Gpu | None, version: str) -> Path | None:
    """Where measured kernel times are kept; all engines of an artifact share them."""
    if gpu is None:
        return None
    graph = artifact.manifest.files[SAMPLER].sha256
    key = hashlib.sha256("\n".join((graph, gpu.name, gpu.driver or "", version)).encode()).hexdigest()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "ddgan-deploy" / "timing" / f"{key}.cache"


def _fastest(
    artifact: Artifact,
    runtime: Runtime,
    kinds: Sequence[Kernels],
    options: EngineOptions,
    gpu: _Gpu | None,
    clock: Clock,
) -> tuple[PlanInfo, ...]:
    """Builds with every kind of kernels; the fastest engines stay, with the times of all."""
    built: dict[Kernels, list[PlanInfo]] = {}
    medians: dict[str, float] = {}
    refused: dict[str, str] = {}
    for kind in kinds:
        folder = artifact.path / f".{kind}"
        folder.mkdir()
        try:
            built[kind] = _build_all(artifact, folder, runtime, kind, options, gpu, clock)
            with clock.stop(f"Time {kind} kernels"):
                medians[kind] = _median_ms(Artifact(folder, artifact.manifest), runtime, options.profile.best)
        except (GateError, InputError) as error:
            refused[kind] = str(error)
    if not medians:
        raise GateError("; ".join(dict.fromkeys(refused.values())))
    best = min(built, key=lambda kind: medians.get(kind, float("inf")))
    infos = [dataclasses.replace(info, medians_ms=medians, refused=refused) for info in built[best]]
    for name, info in zip(PLANS[runtime], infos, strict=True):
        for path in _files(artifact.path / f".{best}" / name):
            path.rename(artifact.path / path.name)
        write_plan_info(artifact.path / name, info)
    for kind in kinds:
        shutil.rmtree(artifact.path / f".{kind}")
    return tuple(infos)


def _median_ms(artifact: Artifact, runtime: Runtime, batch: int) -> float:
    """Median time of a batch from seeds to pixels on the host."""
    knobs = examples(artifact.manifest.sampler.knobs, range(batch))
    with TensorRt(artifact, runtime) as engine:
        times = []
        for run in range(_WARM_UPS + _RUNS):
            start = time.perf_counter()
            engine.generate(range(batch), **knobs)
            if run >= _WARM_UPS:
                times.append(time.perf_counter() - start)
    return round(1000 * statistics.median(times), 4)
