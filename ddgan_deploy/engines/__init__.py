"""Run an artifact: one small class a runtime, behind one protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.artifact import Artifact, read_artifact
from ddgan_deploy.errors import InputError

if TYPE_CHECKING:
    from ddgan_deploy.engines.onnxruntime import OnnxRuntime

ENGINES = ("onnxruntime", "onnxruntime-portable")
"""The engines that this version has, fastest first."""


def open_artifact(path: str | Path, engine: str = "auto", threads: int | None = None) -> OnnxRuntime:
    """Opens an exported folder on a runtime.

    Args:
        path: the folder that ``ddgan-export`` wrote.
        engine: one of `ENGINES`, or "auto" for the first of them that is installed:
            "onnxruntime" runs the fused ops by the native library,
            "onnxruntime-portable" by their ONNX function bodies.
        threads: CPU threads; None: all cores.

    Raises:
        InputError: the folder is no whole artifact, or the engine is unknown or not installed.
    """
    return open_engine(read_artifact(path), engine, threads)


def open_engine(artifact: Artifact, engine: str = "auto", threads: int | None = None) -> OnnxRuntime:
    """As `open_artifact`, for an artifact that was read already."""
    if engine not in ("auto", *ENGINES):
        raise InputError(f"engine {engine!r} is unknown: choose auto or one of {', '.join(ENGINES)}")
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
