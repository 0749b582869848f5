"""What is compared: every engine with every artifact that it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.bench.names import FROM_WEIGHTS, Device, all_engines, device_of, dtype_of
from ddgan_deploy.bench.options import BenchOptions
from ddgan_deploy.errors import InputError
from ddgan_deploy.sampler import Dtype, Precision


@dataclass(frozen=True)
class Series:
    """One engine on one artifact, at all batch sizes.

    Attributes:
        engine: its name.
        artifact: that it runs, or whose architecture.
    """

    engine: str
    artifact: Artifact

    @property
    def runs_artifact(self) -> bool:
        """Whether it is the artifact that is run, and not its generator."""
        return self.engine not in FROM_WEIGHTS

    @property
    def precision(self) -> Precision:
        """Of the weights; PyTorch's are float32, though not all engines compute in it."""
        return self.artifact.manifest.precision if self.runs_artifact else "fp32"

    @property
    def device(self) -> Device:
        """What it computes on."""
        return device_of(self.engine)

    @property
    def dtype(self) -> Dtype:
        """What it multiplies in."""
        return dtype_of(self.engine, self.precision)

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.engine}, {self.precision}" if self.runs_artifact else self.engine

    def job(self, options: BenchOptions) -> SampleJob:
        """What its worker is told."""
        return SampleJob(
            self.engine, self.artifact.path, options.checkpoint, options.cores, first_batch=min(options.batches)
        )


def read_artifacts(paths: Sequence[Path]) -> tuple[Artifact, ...]:
    """Artifacts that can be compared.

    Raises:
        InputError: one is no artifact, or they are not of one checkpoint and number of steps.
    """
    artifacts = tuple(read_artifact(path) for path in paths)
    if len({path.resolve() for path in paths}) != len(paths):
        raise InputError("an artifact is given twice: give each once")
    first = artifacts[0]
    for other in artifacts[1:]:
        ours, theirs = ((a.manifest.checkpoint.sha256, a.manifest.family) for a in (first, other))
        if ours != theirs:
            raise InputError(
                f"{other.path} is of another checkpoint or number of steps than {first.path}: measure them apart"
            )
    return artifacts


def check_checkpoint(path: Path, artifact: Artifact) -> None:
    """Refuses weights for PyTorch that are not of the artifacts' architecture.

    Raises:
        InputError: the file is no such checkpoint.
    """
    from ddgan_deploy.checkpoint import load_checkpoint
    from ddgan_deploy.families.registry import model_and_sampling, told_by

    info = artifact.manifest.family
    model, sampling = model_and_sampling(info)
    if load_checkpoint(path, known=told_by(model, sampling)).model != model:
        raise InputError(f"{path} has another architecture than {artifact.path}: give what it was exported from")


def all_series(options: BenchOptions, artifacts: Sequence[Artifact]) -> tuple[Series, ...]:
    """Every engine with every artifact; those that run the generator itself once."""
    return tuple(
        Series(engine, artifact)
        for engine in options.engines or all_engines()
        for artifact in (artifacts[:1] if engine in FROM_WEIGHTS else artifacts)
    )
