"""Run an artifact: one small class a runtime, behind one protocol."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.artifact import Artifact, read_artifact
from ddgan_deploy.engines.base import Engine
from ddgan_deploy.engines.cuda import has_gpu
from ddgan_deploy.errors import InputError
from ddgan_deploy.plan import PLANS, has_plans

if TYPE_CHECKING:
    from ddgan_deploy.engines.onnxruntime import OnnxRuntime

ENGINES = (*PLANS, "onnxruntime", "onnxruntime-portable")
"""The engines that this version has, fastest first."""


def open_artifact(path: str | Path, engine: str = "auto", threads: int | None = None) -> Engine:
    """Opens an exported folder on a runtime.

    Args:
        path: the folder that ``ddgan-export`` wrote.
        engine: one of `ENGINES`, or "auto" for the first of them that runs here:
            "tensorrt" and "tensorrt-rtx" run the engine files that the folder may hold, on an NVIDIA GPU,
            "onnxruntime" runs the graphs on the CPU, the fused ops by the native library,
            "onnxruntime-portable" by their ONNX function bodies.
        threads: CPU threads of ONNX Runtime; None: all cores.

    Raises:
        InputError: the folder is no whole artifact, or the engine is unknown, not installed
            or cannot run here; "auto" passes over an engine file that cannot run, and logs why.
    """
    return open_engine(read_artifact(path), engine, threads)


def open_engine(artifact: Artifact, engine: str = "auto", threads: int | None = None) -> Engine:
    """As `open_artifact`, for an artifact that was read already."""
    if engine not in ("auto", *ENGINES):
        raise InputError(f"engine {engine!r} is unknown: choose auto or one of {', '.join(ENGINES)}")
    for runtime in PLANS:
        if engine == runtime:
            from ddgan_deploy.engines.tensorrt import TensorRt

            return TensorRt(artifact, runtime)
    return (_on_gpu(artifact) if engine == "auto" else None) or _on_cpu(artifact, engine, threads)


def _on_gpu(artifact: Artifact) -> Engine | None:
    """The first runtime that can run the artifact's engine files here."""
    runtimes = [runtime for runtime in PLANS if has_plans(artifact, runtime)]
    # Asked before anything large is imported.
    if not runtimes or not has_gpu():
        return None
    from ddgan_deploy.engines.runtimes import NotInstalled
    from ddgan_deploy.engines.tensorrt import TensorRt

    for runtime in runtimes:
        try:
            return TensorRt(artifact, runtime)
        except NotInstalled:
            continue
        except InputError as error:
            logging.getLogger(__name__).warning("note: %s does not run here: %s", runtime, error)
    return None


def _on_cpu(artifact: Artifact, engine: str, threads: int | None) -> OnnxRuntime:
    from ddgan_deploy.engines.onnxruntime import OnnxRuntime

    library = None if engine == "onnxruntime-portable" else _native_library()
    if library is None and engine == "onnxruntime":
        raise InputError(
            "engine onnxruntime needs the native library, which is not built here: "
            "install a C++ compiler and ONNX Runtime's headers and reinstall, or choose onnxruntime-portable"
        )
    return OnnxRuntime(artifact, threads, library)


def _native_library() -> Path | None:
    from ddgan_deploy.kernels.native_library import ort_library

    try:
        return ort_library()
    except FileNotFoundError as error:
        raise InputError(str(error)) from None
