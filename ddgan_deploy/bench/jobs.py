"""What a worker process is told to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ddgan_deploy.bench.names import Device
from ddgan_deploy.sampler import Dtype


@dataclass(frozen=True)
class SampleJob:
    """Run a sampler on one engine.

    Attributes:
        engine: its name.
        artifact: what to run, or for engines that run the generator itself, whose architecture.
        checkpoint: the generator's weights; None: random ones.
        threads: on the CPU.
        first_batch: images of the first run, which belongs to loading.
    """

    engine: str
    artifact: Path
    checkpoint: Path | None
    threads: int
    first_batch: int


@dataclass(frozen=True)
class RateJob:
    """Find what the machine does at best.

    Attributes:
        wanted: device -> what to multiply matrices in.
        threads: on the CPU.
    """

    wanted: dict[Device, tuple[Dtype, ...]]
    threads: int


@dataclass(frozen=True)
class PerOpJob:
    """Time every op of an artifact's sampler.

    Attributes:
        batch: images a run.
        runs: that are timed.
    """

    engine: str
    artifact: Path
    threads: int
    batch: int
    runs: int


Job = SampleJob | RateJob | PerOpJob
