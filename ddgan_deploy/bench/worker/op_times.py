"""How long every node of a sampler takes, by what its engine tells."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ddgan_deploy.artifact.manifest import SAMPLER, Artifact
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.bench.jobs import PerOpJob
from ddgan_deploy.engines import open_engine
from ddgan_deploy.engines.base import OpTime, Profiling
from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import Inputs, draw, examples

_KERNEL = "_kernel_time"


class OpRunner:
    """Times the ops of an artifact on one engine.

    An engine that is `Profiling` is asked; ONNX Runtime's
    times come from a session of our own, since it tells them only of a session that was made for it.

    Raises:
        InputError: the engine cannot run here, or does not tell.
    """

    def __init__(self, job: PerOpJob) -> None:
        artifact = read_artifact(job.artifact)
        sampler, seeds = artifact.manifest.sampler, range(job.batch)
        self._inputs = draw(sampler, seeds, examples(sampler.knobs, seeds))
        self._runs = job.runs
        self._profile = _profiler(artifact, job)

    def measure(self) -> list[OpTime]:
        """Every node, each with its median over the runs; after a run that is not counted."""
        return self._profile(self._inputs, 1 + self._runs)


def _profiler(artifact: Artifact, job: PerOpJob) -> Callable[[Inputs, int], list[OpTime]]:
    engine = open_engine(artifact, job.engine, job.threads)
    if isinstance(engine, Profiling):
        return lambda inputs, runs: median_times([engine.profile(inputs) for _ in range(runs)])
    if not job.engine.startswith("onnxruntime"):
        raise InputError(f"engine {job.engine} does not tell how long its ops take: choose onnxruntime")
    return lambda inputs, runs: _onnxruntime_times(artifact, job, inputs, runs)


def median_times(runs: Sequence[Sequence[OpTime]]) -> list[OpTime]:
    """Each node's median over all runs but the first; the n-th node of a name in one run is the n-th in another."""
    seen: dict[tuple[str, str, tuple[int, ...] | None, int], list[float]] = defaultdict(list)
    for times in runs[1:]:
        place: Counter[tuple[str, str, tuple[int, ...] | None]] = Counter()
        for name, op_type, ms, shape in times:
            place[name, op_type, shape] += 1
            seen[name, op_type, shape, place[name, op_type, shape]].append(ms)
    return [OpTime(name, op_type, statistics.median(ms), shape) for (name, op_type, shape, _), ms in seen.items()]


def _onnxruntime_times(artifact: Artifact, job: PerOpJob, inputs: Inputs, runs: int) -> list[OpTime]:
    from ddgan_deploy.engines.onnxruntime.session import new_session
    from ddgan_deploy.kernels.native_library import ort_library

    library = None if job.engine == "onnxruntime-portable" else ort_library()
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "profile"
        session = new_session(
            artifact.path / SAMPLER,
            job.threads,
            library=library,
            profile_prefix=prefix,
            bfloat16=job.engine == "onnxruntime-bf16",
        )
        for _ in range(runs):
            session.run(None, dict(inputs))
        return median_times(read_profile(json.loads(Path(session.end_profiling()).read_text())))


def read_profile(events: Sequence[dict[str, Any]]) -> list[list[OpTime]]:
    """The nodes of every run in ONNX Runtime's profile, which lists a run's end after its nodes."""
    runs: list[list[OpTime]] = [[]]
    for event in events:
        if event.get("cat") == "Session" and event["name"] == "model_run":
            runs.append([])
        elif event.get("cat") == "Node" and event["name"].endswith(_KERNEL) and event["args"]["op_name"] != "Loop":
            # A Loop's time is that of its body's nodes, which are told too.
            args = event["args"]
            shape = _first_shape(args.get("output_type_shape", []))
            runs[-1].append(OpTime(event["name"].removesuffix(_KERNEL), args["op_name"], event["dur"] / 1e3, shape))
    return runs[:-1]


def _first_shape(outputs: Sequence[dict[str, list[int]]]) -> tuple[int, ...] | None:
    return next((tuple(shape) for output in outputs for shape in output.values()), None)
