"""What each process of a cluster has for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.engines.tensorrt.plan import PLANS, has_plans
from ddgan_deploy.errors import InputError

_THREADS = 4
"""Of a worker on CPUs, at most, where nothing is said."""


def uses_gpu(artifacts: Sequence[Artifact], engine: str, resources: Mapping[str, float]) -> bool:
    """Whether workers are to have a GPU.

    Args:
        artifacts: that draw.
        engine: as of `ddgan_deploy.engines.open_artifact`.
        resources: of the cluster, as Ray tells them.

    Raises:
        InputError: there is none, and the engine needs one.
    """
    there = resources.get("GPU", 0) >= 1
    if engine in PLANS and not there:
        raise InputError(f"engine {engine} needs a GPU, and the cluster has none: choose another")
    has_engines = all(any(has_plans(artifact, runtime) for runtime in PLANS) for artifact in artifacts)
    return there and (engine in PLANS or (engine == "auto" and has_engines))


def shares(
    nodes: Sequence[Mapping[str, float]], gpu: bool, workers: int | None, threads: int | None
) -> tuple[int, int | None, dict[str, float]]:
    """How many workers there are, the threads of each, and what Ray keeps for each.

    Args:
        nodes: what each machine has, as Ray tells it.
        gpu: whether each worker has a GPU.
        workers, threads: as they were asked for; None: as fits.

    Raises:
        InputError: no machine has what one worker needs.
    """
    key = "GPU" if gpu else "CPU"
    most = [int(node.get(key, 0)) for node in nodes]
    if gpu:
        return workers or sum(most), threads, {"num_gpus": 1, "num_cpus": 1}
    if workers and not threads:
        share = sum(most) / workers
        threads = max(1, min(int(share), max(most)))
        return workers, threads, {"num_cpus": share if share < 1 else threads}
    threads = threads or min(_THREADS, min(filter(None, most), default=1))
    if not any(count >= threads for count in most):
        raise InputError(f"no machine of the cluster has {threads} CPUs: give less --threads")
    return workers or sum(count // threads for count in most), threads, {"num_cpus": threads}
