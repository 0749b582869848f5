"""From written graphs to a proven artifact: the gates, the engines, what people look at, the manifest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.manifest import SAMPLER, SERVED, WEIGHTS, Artifact, Manifest, write_manifest
from ddgan_deploy.artifact.reading import file_infos
from ddgan_deploy.artifact.results import ParityResult, Speeds
from ddgan_deploy.artifact.staging import Staging
from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime
from ddgan_deploy.engines.tensorrt.plan import PlanInfo
from ddgan_deploy.errors import GateError
from ddgan_deploy.export.report.sweeps import draw_sweeps
from ddgan_deploy.export.report.write import write_report
from ddgan_deploy.export.repository.cpu_engine import prove_cpu_engine
from ddgan_deploy.export.repository.write import write_model_repository
from ddgan_deploy.export.tensorrt.choice import Choice
from ddgan_deploy.export.tensorrt.engines import engine_files, is_engine_file, prove_engines
from ddgan_deploy.export.tuning import tune
from ddgan_deploy.families.base import Checkpoint
from ddgan_deploy.inputs import examples
from ddgan_deploy.parity.budget import affordable, seeds_of, takes_too_long
from ddgan_deploy.parity.verify import Outcome, Verification, verify
from ddgan_deploy.progress import Clock

_SAMPLES = 16
_LARGE_SAMPLES = 2


@dataclass(frozen=True)
class ExportResult:
    """A finished export.

    Attributes:
        artifact: the folder and its manifest.
        timings: (stop, seconds), in order.
        choice: which runtime made engines, and why.
        engines: what was made.
        proven: the gates that were run now, but those of ``engines``.
    """

    artifact: Artifact
    timings: tuple[tuple[str, float], ...]
    choice: Choice
    engines: tuple[PlanInfo, ...]
    proven: tuple[ParityResult, ...]

    def failure(self) -> str:
        """The first gate that failed, on one line; "" where all held."""
        manifest = self.artifact.manifest
        parities = (manifest.parity, manifest.cpu_parity, *(info.parity for info in self.engines))
        failed = [gate.failure() for parity in parities if parity is not None for gate in parity.failures]
        return failed[0] if failed else ""


class FailedGate(GateError):
    """A parity gate failed; the artifact was kept under a name that says so.

    Attributes:
        result: the export, as it was kept.
    """

    def __init__(self, message: str, result: ExportResult) -> None:
        super().__init__(message)
        self.result = result


def checked(result: ExportResult) -> ExportResult:
    """The result, if no gate failed.

    Raises:
        FailedGate: one did.
    """
    failure = result.failure()
    if failure:
        raise FailedGate(f"{failure}; the artifact is kept as {result.artifact.path}", result)
    return result


def prove(
    staging: Staging,
    manifest: Manifest,
    checkpoint: Checkpoint[Any, Any],
    choice: Choice,
    engines: Callable[[Artifact], Sequence[PlanInfo]],
    clock: Clock,
    verified: bool = True,
    tuned: bool = False,
) -> ExportResult:
    """Runs the gates, makes the engines of graphs that hold, writes what people look at, and last the manifest.

    Args:
        staging: folder with the graphs.
        manifest: of them.
        checkpoint: what they should compute.
        choice: which runtime makes engines.
        engines: makes them in the folder of the artifact that it is given.
        clock: told of every stop.
        verified: whether gates are run.
        tuned: whether the engines of the CPU are measured.
    """
    folder = staging.path
    engine = OnnxRuntime(Artifact(folder, manifest))
    verification: Outcome | None = None
    if verified:
        with clock.stop("Verify against PyTorch"):
            verification = verify(checkpoint, engine)
        manifest = dataclasses.replace(manifest, parity=verification.result)
    manifest = dataclasses.replace(manifest, files=file_infos(folder, [SAMPLER, SERVED, WEIGHTS]))
    infos: Sequence[PlanInfo] = ()
    if verification is None or verification.result.passed:
        artifact = Artifact(folder, manifest)
        infos = engines(artifact)
        if isinstance(verification, Verification):
            seeds, reference = verification.result.seeds, verification.reference[-1]
            manifest = dataclasses.replace(manifest, cpu_parity=prove_cpu_engine(artifact, clock, seeds, reference))
            infos = prove_engines(artifact, infos, seeds, reference, clock)
        if tuned:
            manifest = dataclasses.replace(manifest, tuned=_tuned(Artifact(folder, manifest), clock, verification))
        manifest = with_engine_files(folder, manifest)
    with clock.stop("Draw samples and the report"):
        images = _sample_images(engine, verification)
        write_report(folder, manifest, verification, images, clock.timings, infos, draw_sweeps(engine))
    return finish(staging, manifest, clock, choice, infos, [manifest.parity, manifest.cpu_parity])


def _tuned(artifact: Artifact, clock: Clock, verification: Outcome | None) -> Speeds:
    """By the images that the gates have drawn, where they were drawn whole."""
    if isinstance(verification, Verification):
        return tune(artifact, clock, verification.result.seeds, verification.reference[-1])
    return tune(artifact, clock, seeds_of(artifact.manifest))


def finish(
    staging: Staging,
    manifest: Manifest,
    clock: Clock,
    choice: Choice,
    infos: Sequence[PlanInfo],
    proven: Sequence[ParityResult | None],
) -> ExportResult:
    """Writes the manifest and the model repository; an artifact of which a gate failed gets a name that says so."""
    write_manifest(staging.path, manifest)
    ran = tuple(parity for parity in proven if parity is not None)
    result = ExportResult(Artifact(staging.target, manifest), tuple(clock.timings), choice, tuple(infos), ran)
    if not result.failure():
        write_model_repository(Artifact(staging.path, manifest), manifest.serving)
        return result
    staging.keep_as(staging.target.with_name(f"{staging.target.name}-FAILED"))
    return dataclasses.replace(result, artifact=Artifact(staging.target, manifest))


def with_engine_files(folder: Path, manifest: Manifest) -> Manifest:
    """The manifest with the engine files that are in the folder now."""
    graphs = {name: info for name, info in manifest.files.items() if not is_engine_file(name)}
    return dataclasses.replace(manifest, files={**graphs, **file_infos(folder, engine_files(folder))})


def _sample_images(engine: OnnxRuntime, verification: Outcome | None) -> npt.NDArray[np.uint8]:
    """Images of the first seeds, as many as cost allows, with the knobs' defaults; the gates may have drawn some."""
    manifest = engine.artifact.manifest
    sampler = manifest.sampler
    if takes_too_long(manifest):
        return np.empty((0, *sampler.image[1:], sampler.image[0]), np.uint8)
    count = max(1, affordable(manifest.gflops, _SAMPLES if sampler.is_small else _LARGE_SAMPLES))
    # Of several only the first has the defaults.
    drawn = [verification.images[: 1 if sampler.knobs else None]] if isinstance(verification, Verification) else []
    left = range(len(drawn[0]) if drawn else 0, count)
    return np.concatenate([*drawn, *([engine.generate(left, **examples(sampler.knobs, left))] if left else [])])
