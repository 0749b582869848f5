"""Run an artifact: one small class a runtime, behind one protocol."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.artifact.serving import CPU_ENGINES
from ddgan_deploy.engines.base import Engine
from ddgan_deploy.engines.speeds import measured_order
from ddgan_deploy.engines.tensorrt.plan import PLANS, has_plans
from ddgan_deploy.errors import InputError, NotInstalled
from ddgan_deploy.gpu import has_gpu
from ddgan_deploy.processor import has_bfloat16

ENGINES = (*PLANS, *CPU_ENGINES)
"""The engines that this version has, those of GPUs first."""
MAX_THREADS = 1024
"""More than any machine has cores; each takes memory of its own."""


def open_artifact(path: str | Path, engine: str = "auto", threads: int | None = None) -> Engine:
    """Opens an exported folder on a runtime; its ``name`` says which.

    Args:
        path: the folder that ``ddgan-export`` wrote.
        engine: one of `ENGINES`, or "auto" for the fastest that runs here and keeps the artifact's tolerance:
            "tensorrt" and "tensorrt-rtx" run the engine files that the folder may hold, on an NVIDIA GPU,
            "onnxruntime" runs the graphs on the CPU, the fused ops by the native library, "onnxruntime-bf16" besides
            with products of bfloat16,
            "onnxruntime-portable" by their ONNX function bodies,
            "openvino-f32" and "openvino-bf16" the sampler's graph in OpenVINO.
        threads: on the CPU, 1..1024; None: all cores.

    Raises:
        InputError: the folder is no whole artifact, threads are out of range, or the engine is unknown, not installed
            or cannot run here; "auto" passes over what is not installed, and over an engine file that cannot
            run, and logs why.
    """
    return open_engine(read_artifact(path), engine, threads)


def open_engine(artifact: Artifact, engine: str = "auto", threads: int | None = None) -> Engine:
    """As `open_artifact`, for an artifact that was read already."""
    if engine not in ("auto", *ENGINES):
        raise InputError(f"engine {engine!r} is unknown: choose auto or one of {', '.join(ENGINES)}")
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise InputError(f"threads {threads} is out of range: give 1..{MAX_THREADS}")
    if engine != "auto":
        return _open(artifact, engine, threads)
    for name in _candidates(artifact):
        try:
            return _open(artifact, name, threads)
        except NotInstalled:
            continue
        except InputError as error:
            if name not in PLANS:
                raise
            # An engine file may be of another GPU or version.
            logging.getLogger(__name__).warning("note: %s does not run here: %s", name, error)
    return _open(artifact, "onnxruntime-portable", threads)


def _candidates(artifact: Artifact) -> Iterator[str]:
    """What auto tries in turn, the fastest first."""
    runtimes = [runtime for runtime in PLANS if has_plans(artifact, runtime)]
    # Asked before anything large is imported.
    if runtimes and has_gpu():
        yield from runtimes
    manifest = artifact.manifest
    if manifest.serving.cpu_engine != "auto":
        yield manifest.serving.cpu_engine
    yield from measured_order(artifact)
    # The order where nothing was measured: what most processors had (docs/benchmarks.md).
    yield from ("onnxruntime", "openvino-f32")


def require_installed(engine: str) -> None:
    """Refuses an engine of the CPU whose packages are not there.

    Raises:
        InputError: it is not installed, or broken.
    """
    if engine.startswith("openvino"):
        from ddgan_deploy.engines import openvino

        openvino.require_installed(engine)
    elif engine != "onnxruntime-portable":
        _native_library(engine)


def _open(artifact: Artifact, engine: str, threads: int | None) -> Engine:
    for runtime in PLANS:
        if engine == runtime:
            from ddgan_deploy.engines.tensorrt.engine import TensorRt

            return TensorRt(artifact, runtime)
    if engine.startswith("openvino"):
        from ddgan_deploy.engines.openvino import OpenVino

        return OpenVino(artifact, engine, threads)
    from ddgan_deploy.engines.onnxruntime.engine import BFLOAT16, PORTABLE, OnnxRuntime

    library = None if engine == PORTABLE else _native_library(engine)
    return OnnxRuntime(artifact, threads, library, engine == BFLOAT16)


def _native_library(engine: str) -> Path:
    from ddgan_deploy.kernels.native_library import ort_library

    try:
        library = ort_library()
    except FileNotFoundError as error:
        raise InputError(str(error)) from None
    if library is None:
        raise NotInstalled(
            f"engine {engine} needs the native library, which is not built here: "
            "install a C++ compiler and ONNX Runtime's headers and reinstall, or choose onnxruntime-portable"
        )
    if engine.endswith("-bf16") and not has_bfloat16():
        raise NotInstalled(
            f"engine {engine} needs a processor with products of bfloat16, this has none: choose onnxruntime"
        )
    return library
