"""What differs between the backends that can run the model `ddgan`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ddgan_deploy.artifact.engine_files import BatchProfile
from ddgan_deploy.artifact.manifest import MANIFEST, SERVED, WEIGHTS, Artifact
from ddgan_deploy.artifact.serving import DEFAULT_MAX_BATCH, Serving
from ddgan_deploy.engines.onnxruntime.session import modernized
from ddgan_deploy.engines.tensorrt.plan import PLANS, SERVED_PLAN, has_plans, read_plan_info
from ddgan_deploy.errors import InputError
from ddgan_deploy.kernels.native_library import ort_library

ARTIFACT = "artifact"
"""Folder, in the version folder, of the artifact that the python backend opens."""


@dataclass(frozen=True)
class EngineModel:
    """How the model `ddgan` runs on one backend.

    Attributes:
        backend: of Triton Inference Server.
        description, instances: for who reads the configuration.
        kind: of the instances.
        max_batch: most images a run.
        preferred: batch sizes that need not wait for more requests.
        files: in the version folder, by their names there: what is copied, or their content.
        beside: in the model's folder, by their names there.
        file: that the backend opens.
        library: of custom ops.
        accelerator: an execution provider of ONNX Runtime beyond CUDA's.
        parameters: of the backend.
    """

    backend: str
    description: str
    instances: str
    kind: str
    max_batch: int
    preferred: tuple[int, ...]
    files: Mapping[str, Path | bytes]
    beside: Mapping[str, Path] = field(default_factory=dict)
    file: str = ""
    library: str = ""
    accelerator: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


def engine_model(artifact: Artifact, serving: Serving) -> EngineModel:
    """The backend that the options, or else the artifact, ask for.

    Raises:
        InputError: the artifact cannot be served so.
    """
    profile = _plan_profile(artifact)
    backend = serving.backend
    if backend == "auto":
        backend = "tensorrt" if profile is not None and profile.least == 1 else "python"
    check_backend(dataclasses.replace(serving, backend=backend), profile)
    if backend == "tensorrt" and profile is not None:
        return _tensorrt(artifact, profile, serving)
    return _onnxruntime(artifact, serving) if backend == "onnxruntime" else _python(artifact, serving)


def check_backend(serving: Serving, profile: BatchProfile | None) -> None:
    """Refuses a tensorrt backend without an engine that it can run.

    Args:
        serving: what is asked for.
        profile: batch sizes of the engine from seeds to pixels; None: there is, or will be, none.

    Raises:
        InputError: the two do not go together.
    """
    if serving.backend != "tensorrt":
        return
    if profile is None:
        raise InputError(
            f"--backend tensorrt runs {SERVED_PLAN}, which there is not: "
            "build it with --engine tensorrt on a machine with a GPU, or choose another backend"
        )
    if profile.least != 1:
        raise InputError(
            f"--backend tensorrt must run single images, and {SERVED_PLAN} takes batches of {profile}: "
            f"build it with --batch 1:{profile.best}:{profile.most}, or choose another backend"
        )
    if serving.max_batch is not None and serving.max_batch > profile.most:
        raise InputError(
            f"--max-batch {serving.max_batch} is more than {SERVED_PLAN} takes ({profile}): "
            f"give at most {profile.most}, or build it with a larger --batch"
        )


def _plan_profile(artifact: Artifact) -> BatchProfile | None:
    """Batch sizes of the artifact's engine from seeds to pixels."""
    return read_plan_info(artifact, SERVED_PLAN).profile if (artifact.path / SERVED_PLAN).is_file() else None


def _python(artifact: Artifact, serving: Serving) -> EngineModel:
    on_gpu = any(has_plans(artifact, runtime) for runtime in PLANS)
    batch = serving.max_batch or DEFAULT_MAX_BATCH
    return EngineModel(
        backend="python",
        description="ddgan-deploy's own engine inside Triton Inference Server's python backend",
        instances="One on each GPU, or one for all cores where there is none." if on_gpu else "One, with all cores.",
        kind="KIND_AUTO" if on_gpu else "KIND_CPU",
        max_batch=batch,
        preferred=(batch,),
        files={f"{ARTIFACT}/{name}": artifact.path / name for name in (MANIFEST, *artifact.manifest.files)},
        # 0 threads are all cores.
        parameters={"artifact": ARTIFACT, "engine": "auto", "threads": "0"},
    )


def _onnxruntime(artifact: Artifact, serving: Serving) -> EngineModel:
    library = ort_library()
    kinds = {"cpu": "KIND_CPU", "auto": "KIND_AUTO", "cuda": "KIND_GPU", "tensorrt": "KIND_GPU"}
    kind = kinds[serving.accelerator]
    batch = serving.max_batch or DEFAULT_MAX_BATCH
    beside = {library.name: library} if library else {}
    return EngineModel(
        backend="onnxruntime",
        description=f"{SERVED} in ONNX Runtime",
        instances="One, with all cores." if kind == "KIND_CPU" else "One on each GPU.",
        kind=kind,
        max_batch=batch,
        preferred=(batch,),
        # The backend reads the file itself, and its ONNX Runtime may be one that an older graph misleads.
        files={SERVED: modernized(artifact.path / SERVED), WEIGHTS: artifact.path / WEIGHTS},
        beside=beside,
        file=SERVED,
        library="".join(beside),
        accelerator="tensorrt" if serving.accelerator == "tensorrt" else "",
        parameters={"intra_op_thread_count": "0"},
    )


def _tensorrt(artifact: Artifact, profile: BatchProfile, serving: Serving) -> EngineModel:
    batch = serving.max_batch or profile.most
    return EngineModel(
        backend="tensorrt",
        description=f"{SERVED_PLAN} in TensorRT",
        instances="One on each GPU.",
        kind="KIND_GPU",
        max_batch=batch,
        preferred=tuple(sorted({min(profile.best, batch), batch})),
        files={SERVED_PLAN: artifact.path / SERVED_PLAN},
        file=SERVED_PLAN,
    )
