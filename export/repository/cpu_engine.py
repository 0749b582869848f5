"""The CPU engine that an artifact names: whether it can, and the proof that it does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.artifact.results import ParityResult
from ddgan_deploy.artifact.serving import CPU_ENGINES, Serving
from ddgan_deploy.engines import open_engine, require_installed
from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime
from ddgan_deploy.errors import InputError
from ddgan_deploy.parity.verify import trial, verify_outputs
from ddgan_deploy.progress import Clock
from ddgan_deploy.sampler import Precision


def check_cpu_engine(serving: Serving, precision: Precision, proven: bool = True) -> None:
    """Refuses an engine that cannot keep the artifact's tolerance, whatever the checkpoint, or cannot prove it here.

    Raises:
        InputError: it is unknown, computes with fewer digits than the artifact promises, or is not installed
            though it is to be proven.
    """
    name = serving.cpu_engine
    if name not in ("auto", *CPU_ENGINES):
        raise InputError(f"--cpu-engine {name!r} is unknown: give auto or one of {', '.join(CPU_ENGINES)}")
    if name.endswith("-bf16") and precision == "fp32":
        other = "openvino-f32" if name.startswith("openvino") else "onnxruntime"
        raise InputError(
            f"--cpu-engine {name} has 8 bits of mantissa and cannot keep the tolerance of an fp32 artifact: "
            f"export with --fp16 or --int8, or choose {other}"
        )
    if name != "auto" and proven:
        require_installed(name)


def prove_cpu_engine(
    artifact: Artifact,
    clock: Clock,
    seeds: Sequence[int],
    reference: npt.NDArray[np.float32] | None = None,
) -> ParityResult | None:
    """The gates of the engine that the artifact names; None where it names none.

    Args:
        artifact: with the engine in its manifest.
        clock: told of the stop.
        seeds: to sample with.
        reference: x_0 of PyTorch from these seeds, float32 [N, C, H, W]; None: the artifact's own graph in stock
            ONNX Runtime, which the export compared with PyTorch.

    Raises:
        InputError: the engine is not installed or cannot run here.
    """
    name = artifact.manifest.serving.cpu_engine
    return None if name == "auto" else prove_engine(artifact, name, clock, seeds, reference)


def prove_engine(
    artifact: Artifact,
    name: str,
    clock: Clock,
    seeds: Sequence[int],
    reference: npt.NDArray[np.float32] | None = None,
) -> ParityResult:
    """The gates of one engine; arguments and errors as of `prove_cpu_engine`."""
    manifest = artifact.manifest
    tried = trial(manifest.sampler, seeds)
    with open_engine(artifact, name) as engine, clock.stop(f"Verify {name}"):
        if reference is None:
            with OnnxRuntime(artifact) as portable:
                reference = portable.sample(tried.inputs)
        return verify_outputs(reference, engine, tried, manifest.precision, manifest.probes)
