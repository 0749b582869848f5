"""An artifact's manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddgan_deploy.artifact.assumptions import Assumed
from ddgan_deploy.artifact.records import write_record
from ddgan_deploy.artifact.results import KeptLayer, ParityResult, Speeds
from ddgan_deploy.artifact.serving import DEFAULT_SERVING, Serving
from ddgan_deploy.sampler import Precision, Probe, Sampler
from ddgan_deploy.weight_files.kinds import Kind

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
SAMPLER = "sampler.onnx"
SERVED = "ddgan.onnx"
WEIGHTS = "weights.bin"
ENGINE_SUFFIXES = (".plan", ".plan.json", ".plan.log")
"""Of engine files and what lies beside them."""


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a graph; "batch" stands for the dynamic first size."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class GraphInfo:
    """The signature of a graph, and its size."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    nodes: int


@dataclass(frozen=True)
class FileInfo:
    """Size and SHA-256 of a file of the artifact."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class CheckpointInfo:
    """Where the weights came from."""

    file: str
    sha256: str
    weights: Kind
    parameters: int


@dataclass(frozen=True)
class FamilyInfo:
    """Whose model it is: what an export, a check or PyTorch's rows of a benchmark ask the family with.

    Attributes:
        name: of the family.
        model, sampling: the fields of its two dataclasses.
    """

    name: str
    model: Mapping[str, Any]
    sampling: Mapping[str, Any]


@dataclass(frozen=True)
class Manifest:
    """What an artifact is: all that running, serving or checking it needs to know.

    ``sampler`` is what the graphs take and give, ``probes`` where the gates look, ``facts`` what the family tells.
    ``parity``, of stock ONNX Runtime, is None where the export ran with ``--no-verify``; ``serving`` is what was asked
    of the model repository, and ``cpu_parity`` the gates of the CPU engine that it names, None where it names none.
    ``looped`` is whether the graphs hold all steps as one ONNX Loop, not as copies.
    ``gflops`` is what one image takes, as convolutions and products are defined, two operations a multiply-add; 0 where
    that was not told. ``tuned`` is how fast the engines of the CPU were where the export was told to measure them.
    ``assumed`` is what neither the checkpoint nor a config told, so that no gate has seen it.
    """

    format_version: int
    created: str
    checkpoint: CheckpointInfo
    family: FamilyInfo
    sampler: Sampler
    probes: tuple[Probe, ...]
    steps: int
    precision: Precision
    kept_fp32: tuple[KeptLayer, ...]
    graphs: Mapping[str, GraphInfo]
    versions: Mapping[str, str]
    parity: ParityResult | None
    files: Mapping[str, FileInfo] = field(default_factory=dict)
    serving: Serving = DEFAULT_SERVING
    cpu_parity: ParityResult | None = None
    assumed: tuple[Assumed, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    looped: bool = False
    gflops: float = 0.0
    tuned: Speeds | None = None


@dataclass(frozen=True)
class Artifact:
    """An artifact folder that was read and found whole."""

    path: Path
    manifest: Manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes ``manifest.json``, as the last file of an artifact."""
    (folder / MANIFEST).write_bytes(write_record(manifest))
