"""Run an artifact: one small class a runtime, behind one protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.artifact import Artifact, read_artifact
from ddgan_deploy.errors import InputError

if TYPE_CHECKING:
    from ddgan_deploy.engines.onnxruntime import PortableOnnxRuntime

ENGINES = ("onnxruntime-portable",)
"""The engines that this version has, fastest first."""


def open_artifact(path: str | Path, engine: str = "auto", threads: int | None = None) -> PortableOnnxRuntime:
    """Opens an exported folder on a runtime.

    Args:
        path: the folder that ``ddgan-export`` wrote.
        engine: one of `ENGINES`, or "auto" for the first of them.
        threads: CPU threads; None: all cores.

    Raises:
        InputError: the folder is no whole artifact, or the engine is unknown.
    """
    return open_engine(read_artifact(path), engine, threads)


def open_engine(artifact: Artifact, engine: str = "auto", threads: int | None = None) -> PortableOnnxRuntime:
    """As `open_artifact`, for an artifact that was read already."""
    name = ENGINES[0] if engine == "auto" else engine
    if name not in ENGINES:
        raise InputError(f"engine {engine!r} is unknown: choose auto or one of {', '.join(ENGINES)}")
    from ddgan_deploy.engines.onnxruntime import PortableOnnxRuntime

    return PortableOnnxRuntime(artifact, threads)
