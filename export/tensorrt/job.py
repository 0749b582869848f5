"""One engine to build, as plain data that a process of its own can be given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ddgan_deploy.engines.tensorrt.plan import TITLES, Kernels, Runtime
from ddgan_deploy.export.tensorrt.options import EngineOptions
from ddgan_deploy.sampler import Precision


@dataclass(frozen=True)
class ParserModel:
    """A model for TensorRT's parser.

    Attributes:
        proto: serialized; weights stay in the artifact's file.
        plugins: op type -> number of nodes that a plugin runs.
    """

    proto: bytes
    plugins: Mapping[str, int]


@dataclass(frozen=True)
class EngineJob:
    """One engine to build.

    Attributes:
        runtime: that builds it.
        model: the graph in the parser's form.
        onnx: the file that it was read from; weights lie beside it.
        plan: the engine file to write; the build log goes beside it.
        precision: of the graph.
        kernels: with which the model was prepared.
        options: how to build.
        arch: compute capability times ten that the fused kernels are compiled for.
        timing_cache: file of measured kernel times, read and written (TensorRT).
    """

    runtime: Runtime
    model: ParserModel
    onnx: Path
    plan: Path
    precision: Precision
    kernels: Kernels
    options: EngineOptions
    arch: int = 0
    timing_cache: Path | None = None

    @property
    def title(self) -> str:
        """The runtime's name in sentences."""
        return TITLES[self.runtime]


def log_path(plan: Path) -> Path:
    """The build log beside an engine file."""
    return plan.with_name(plan.name + ".log")
