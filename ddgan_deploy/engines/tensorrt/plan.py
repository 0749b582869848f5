"""What a TensorRT engine file says of itself, in the JSON beside it, and whether it can run here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ddgan_deploy.artifact.engine_files import TITLES as TITLES
from ddgan_deploy.artifact.engine_files import BatchProfile as BatchProfile
from ddgan_deploy.artifact.engine_files import Compatibility as Compatibility
from ddgan_deploy.artifact.engine_files import Kernels as Kernels
from ddgan_deploy.artifact.engine_files import Runtime as Runtime
from ddgan_deploy.artifact.manifest import SAMPLER, SERVED, WEIGHTS, Artifact
from ddgan_deploy.artifact.reading import damaged_files
from ddgan_deploy.artifact.records import DamagedRecord, OtherVersion, read_record, write_record
from ddgan_deploy.artifact.results import ParityResult
from ddgan_deploy.errors import InputError
from ddgan_deploy.names import quoted
from ddgan_deploy.sampler import Precision

PLAN_FORMAT = 1
SAMPLER_PLAN, SERVED_PLAN, RTX_PLAN = "sampler.plan", "ddgan.plan", "sampler.rtx.plan"

PLANS: Mapping[Runtime, tuple[str, ...]] = {"tensorrt": (SAMPLER_PLAN, SERVED_PLAN), "tensorrt-rtx": (RTX_PLAN,)}
"""Engine files of each runtime."""
GRAPHS: Mapping[str, str] = {SAMPLER_PLAN: SAMPLER, SERVED_PLAN: SERVED, RTX_PLAN: SAMPLER}
"""The graph whose inputs and outputs an engine file has."""


@dataclass(frozen=True)
class PlanInfo:
    """An engine file in words.

    Attributes:
        format_version: `PLAN_FORMAT`.
        runtime, version: what built it, and the only version that runs it unless ``version_compatible``.
        compute_capabilities: such as "8.9": of the GPU that it was built on (TensorRT), or the targets
            that it was built for (TensorRT-RTX).
        hardware_compatibility: other GPUs that run it: none; from Ampere on; those of the same compute capability.
        version_compatible: whether later TensorRT versions run it.
        graph: ONNX file that it was built from, and with ``weights_sha256`` its hash.
        profile: batch sizes.
        precision: of the graph; TensorRT keeps its types.
        kernels: "fused" has the Triton-language kernels inside, "portable" what TensorRT makes of the function bodies.
        refittable: whether `ddgan-export --refit` can give it new weights.
        gpu, driver: what it was built on; None where there was none.
        build_seconds: of the builder.
        medians_ms: kernels -> median time of a batch of ``profile.best``, where both were built and timed.
        refused: kernels -> why no engine could be built with them, where others took their place.
        parity: of the engine; None where it was not run.
    """

    format_version: int
    runtime: Runtime
    version: str
    compute_capabilities: tuple[str, ...]
    hardware_compatibility: Compatibility
    version_compatible: bool
    graph: str
    graph_sha256: str
    weights_sha256: str
    profile: BatchProfile
    precision: Precision
    kernels: Kernels
    refittable: bool
    gpu: str | None
    driver: str | None
    build_seconds: float
    medians_ms: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    parity: ParityResult | None = None


@dataclass(frozen=True)
class Here:
    """What would run an engine on this machine.

    Attributes:
        version: of the installed runtime.
        compute_capability: of the GPU, such as "8.9".
    """

    version: str
    compute_capability: str


def plan_name(info: PlanInfo) -> str:
    """The engine file that words are about."""
    return next(name for name in PLANS[info.runtime] if GRAPHS[name] == info.graph)


def info_path(plan: Path) -> Path:
    """The JSON beside an engine file."""
    return plan.with_name(plan.name + ".json")


def write_plan_info(plan: Path, info: PlanInfo) -> None:
    """Writes the JSON beside an engine file."""
    info_path(plan).write_bytes(write_record(info))


def has_plans(artifact: Artifact, runtime: Runtime) -> bool:
    """Whether the artifact holds any engine file of a runtime."""
    return any((artifact.path / name).is_file() for name in PLANS[runtime])


def read_plan_info(artifact: Artifact, name: str) -> PlanInfo:
    """What an engine file of an artifact says of itself.

    Raises:
        InputError: the artifact has no such engine, or its JSON is missing, damaged or of another format.
    """
    plan = artifact.path / name
    path, anew = info_path(plan), f"build it anew with {rebuild_command(artifact, name)}"
    if not plan.is_file():
        raise InputError(f"{artifact.path} has no engine {name}: build it with {rebuild_command(artifact, name)}")
    if not path.is_file():
        raise InputError(f"{path} is missing, which says what can run {name}: {anew}")
    try:
        info = read_record(path.read_bytes(), PlanInfo, PLAN_FORMAT)
    except OtherVersion as error:
        raise InputError(f"{path} has {error}, this ddgan-deploy reads {PLAN_FORMAT}: {anew}") from None
    except DamagedRecord as error:
        raise InputError(f"{path} is damaged ({error}): {anew}") from None
    wrong = _wrong_field(info, name)
    if wrong:
        raise InputError(f"{path} is damaged ({wrong}: {getattr(info, wrong)} cannot be): {anew}")
    return info


def check_plan(artifact: Artifact, name: str, info: PlanInfo, here: Here) -> None:
    """Refuses an engine that cannot run here, before TensorRT is asked.

    Raises:
        InputError: it was built from another graph, by another version, or for another GPU.
    """
    reason = _unfit(artifact, name, info, here)
    if reason:
        raise InputError(f"{artifact.path / name} {reason}: build it anew with {rebuild_command(artifact, name)}")


def rebuild_command(artifact: Artifact, name: str) -> str:
    """The command line that builds an engine file of an artifact again, on the machine that shall run it."""
    runtime = next(runtime for runtime, names in PLANS.items() if name in names)
    return f"ddgan-export --rebuild {quoted(artifact.path)} --engine {runtime}"


def _wrong_field(info: PlanInfo, name: str) -> str:
    """A field whose content no engine of that name can have, or nothing."""
    if name not in PLANS[info.runtime]:
        return "runtime"
    if not re.match(r"\d+\.\d+", info.version):
        return "version"
    if not 1 <= info.profile.least <= info.profile.best <= info.profile.most:
        return "profile"
    return ""


def _unfit(artifact: Artifact, name: str, info: PlanInfo, here: Here) -> str:
    """Why an engine cannot run here, or nothing."""
    title, files = TITLES[info.runtime], artifact.manifest.files
    own = {file: files[file] for file in (name, info_path(Path(name)).name) if file in files}
    if damaged_files(artifact.path, own, check_hashes=True):
        return "or the JSON beside it was changed since it was built"
    for file, sha256 in ((info.graph, info.graph_sha256), (WEIGHTS, info.weights_sha256)):
        if file not in files or files[file].sha256 != sha256:
            return f"was built from another {file} than the artifact's"
    if not _version_runs(info, here.version):
        return f"was built by {title} {info.version}, here is {here.version}"
    if not _gpu_runs(info, here.compute_capability):
        built = ", ".join(info.compute_capabilities)
        return f"was built for compute capability {built}, the GPU here has {here.compute_capability}"
    return ""


def _version_runs(info: PlanInfo, here: str) -> bool:
    if here == info.version:
        return True
    built, runs = (tuple(int(part) for part in re.findall(r"\d+", version)[:2]) for version in (info.version, here))
    # "Engines built with the version-compatible flag can run with newer TensorRT versions" of the same major
    # version, and those of TensorRT 10 on 11 (TensorRT 11.4, support matrix).
    return info.version_compatible and runs >= built and (runs[0] == built[0] or (built[0], runs[0]) == (10, 11))


def _gpu_runs(info: PlanInfo, here: str) -> bool:
    if info.hardware_compatibility == "ampere_plus":
        return int(here.split(".")[0]) >= 8
    return here in info.compute_capabilities
