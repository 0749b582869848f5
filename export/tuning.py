"""The CPU's engines, measured at the export: whoever opens the artifact on this machine takes the fastest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.manifest import Artifact, write_manifest
from ddgan_deploy.artifact.results import Speeds
from ddgan_deploy.artifact.serving import CPU_ENGINES, DEFAULT_MAX_BATCH
from ddgan_deploy.bench import BenchOptions, run
from ddgan_deploy.engines import require_installed
from ddgan_deploy.engines.speeds import fastest_first, measured_of
from ddgan_deploy.errors import InputError
from ddgan_deploy.export.repository.cpu_engine import prove_engine
from ddgan_deploy.progress import Clock
from ddgan_deploy.sampler import Precision

_RUNS, _SECONDS = 5, 10.0


def tune(
    artifact: Artifact, clock: Clock, seeds: Sequence[int], reference: npt.NDArray[np.float32] | None = None
) -> Speeds:
    """How fast the engines are here, for single images and for the largest batch of the server.

    Args:
        artifact: in a folder that nobody reads yet, to which its manifest is written.
        clock: told of the stops.
        seeds: to prove engines with that compute with fewer digits than the artifact promises.
        reference: x_0 of PyTorch from these seeds; None: what `prove_engine` compares with otherwise.
    """
    manifest = artifact.manifest
    largest = manifest.serving.max_batch or DEFAULT_MAX_BATCH
    engines = tuple(filter(_runs_here, _candidates(manifest.precision)))
    write_manifest(artifact.path, manifest)
    options = BenchOptions(
        (artifact.path,), tuple({1: None, largest: None}), engines=engines, runs=_RUNS, seconds=_SECONDS
    )
    with clock.stop("Measure the engines here"):
        speeds = measured_of(run(options).rows, artifact)
    proven = []
    for name in fastest_first(speeds):
        if not name.endswith("-bf16"):
            # Slower ones are not taken.
            break
        if prove_engine(artifact, name, clock, seeds, reference).passed:
            proven.append(name)
    return dataclasses.replace(speeds, proven=tuple(proven))


def _candidates(precision: Precision) -> list[str]:
    return [name for name in CPU_ENGINES if precision != "fp32" or not name.endswith("-bf16")]


def _runs_here(engine: str) -> bool:
    try:
        require_installed(engine)
    except InputError:
        return False
    return True
