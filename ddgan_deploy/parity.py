"""The proof: an engine against the reference sampler, on the same noise.

Tolerances: fp32 at most 1e-4 a step in absolute terms, for states of order one;
fp16 at least 40 dB, an error of a hundredth of the range [-1, 1].
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact import Precision
from ddgan_deploy.checkpoint import Checkpoint
from ddgan_deploy.diffusion import Trajectory, sample
from ddgan_deploy.engines.onnxruntime import OnnxRuntime
from ddgan_deploy.models.ncsnpp import Generator
from ddgan_deploy.noise import Noise, draw
from ddgan_deploy.results import Gate, ParityResult, StepParity

FP32_MAX_ABS = 1e-4
FP16_MIN_PSNR = 40.0
BATCH_TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}
"""A runtime may sum in another order at another batch size, so rows alone and in a batch differ by rounding."""
EQUAL_PSNR = 999.0
SMALL_IMAGE = 64
"""Pixels along a side up to which several images at once cost little."""
_RANGE = 2.0


@dataclass(frozen=True)
class Verification:
    """A parity run with the images behind it.

    Attributes:
        result: the gates.
        reference, engine: both trajectories, on the same noise.
        images: of the served graph, uint8 [N, H, W, C].
    """

    result: ParityResult
    reference: Trajectory
    engine: Trajectory
    images: npt.NDArray[np.uint8]


def verify(checkpoint: Checkpoint, engine: OnnxRuntime, seeds: Sequence[int] | None = None) -> Verification:
    """Runs every gate.

    Args:
        checkpoint: what the artifact should compute.
        engine: the artifact, opened.
        seeds: to sample with; None: a few from 0 on, fewer for large images.
    """
    start = time.perf_counter()
    manifest = engine.artifact.manifest
    config, steps, precision = manifest.generator, manifest.steps, manifest.precision
    if seeds is None:
        seeds = range(4 if config.image_size <= SMALL_IMAGE else 2)
    noise = draw(seeds, config.image_shape, config.nz, steps)
    generator = checkpoint.generator()
    reference = sample(generator, manifest.schedule, noise.x_T, noise.z, noise.noise)
    # The first seed twice, so that one run also shows whether equal rows stay equal.
    doubled = engine.trajectory(_rows(noise, [*range(len(seeds)), 0]))
    trajectory = Trajectory(doubled.x0[:, :-1], doubled.x_prev[:, :-1])
    images, x_0 = engine.generate(seeds), engine.sample(noise)
    rows = [_step(k, steps - 1 - k, reference, trajectory) for k in range(steps)]
    gates = [
        _finite_gate(trajectory),
        *(gate for row in rows for gate in _step_gates(row, precision)),
        _tensor_gate(
            "x_0 of the file as it is", _max_abs(reference.x_prev[-1], x_0), psnr(reference.x_prev[-1], x_0), precision
        ),
        _twin_gate(doubled),
        _alone_gate(engine.sample(_rows(noise, [0])), x_0, precision),
        _pixel_gate(images, x_0),
    ]
    gates = _located(gates, generator, engine, noise, reference)
    result = ParityResult(engine.name, tuple(seeds), tuple(rows), tuple(gates), time.perf_counter() - start)
    return Verification(result, reference, trajectory, images)


def to_pixels(x_0: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """floor(clip((x + 1) / 2 * 255 + 0.5, 0, 255)): [N, C, H, W] in [-1, 1] -> uint8 [N, H, W, C]."""
    scaled = (x_0.astype(np.float32) + np.float32(1)) / np.float32(2) * np.float32(255) + np.float32(0.5)
    pixels: npt.NDArray[np.uint8] = np.floor(np.clip(np.nan_to_num(scaled), 0, 255)).astype(np.uint8)
    return pixels.transpose(0, 2, 3, 1)


def psnr(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Peak signal-to-noise ratio in dB for a range of 2; `EQUAL_PSNR` where equal, 0 where not finite."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    if not math.isfinite(error):
        return 0.0
    return EQUAL_PSNR if error == 0 else 10 * math.log10(_RANGE**2 / error)


def _max_abs(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
    # JSON has no infinity, so the largest float32 stands for what is not finite.
    largest = float(np.finfo(np.float32).max)
    return float(np.nan_to_num(difference, nan=largest, posinf=largest).max())


def _step(k: int, t: int, reference: Trajectory, engine: Trajectory) -> StepParity:
    return StepParity(
        step=k,
        t=t,
        x0_max_abs=_max_abs(reference.x0[k], engine.x0[k]),
        x0_psnr=psnr(reference.x0[k], engine.x0[k]),
        x_prev_max_abs=_max_abs(reference.x_prev[k], engine.x_prev[k]),
        x_prev_psnr=psnr(reference.x_prev[k], engine.x_prev[k]),
    )


def _step_gates(row: StepParity, precision: Precision) -> list[Gate]:
    title = f"step {row.step} (t={row.t})"
    last = "x_0" if row.t == 0 else "x_prev"
    return [
        _tensor_gate(f"{title} x0", row.x0_max_abs, row.x0_psnr, precision),
        _tensor_gate(f"{title} {last}", row.x_prev_max_abs, row.x_prev_psnr, precision),
    ]


def _tensor_gate(name: str, max_abs: float, decibel: float, precision: Precision) -> Gate:
    if precision == "fp32":
        return Gate(name, max_abs <= FP32_MAX_ABS, max_abs, FP32_MAX_ABS, "max abs")
    return Gate(name, decibel >= FP16_MIN_PSNR, decibel, FP16_MIN_PSNR, "dB")


def _finite_gate(trajectory: Trajectory) -> Gate:
    bad = int(np.size(trajectory.x_prev) - np.isfinite(trajectory.x_prev).sum())
    bad += int(np.size(trajectory.x0) - np.isfinite(trajectory.x0).sum())
    return Gate("no NaN or Inf", bad == 0, bad, 0, "values")


def _twin_gate(doubled: Trajectory) -> Gate:
    differing = float(np.sum(doubled.x_prev[:, 0] != doubled.x_prev[:, -1]))
    return Gate("identical rows stay identical", differing == 0, differing, 0, "values")


def _alone_gate(alone: npt.NDArray[np.float32], batch: npt.NDArray[np.float32], precision: Precision) -> Gate:
    limit = BATCH_TOLERANCE[precision]
    apart = _max_abs(batch[:1], alone)
    return Gate("a sample alone equals it in a batch", apart <= limit, apart, limit, "max abs")


def _pixel_gate(images: npt.NDArray[np.uint8], x_0: npt.NDArray[np.float32]) -> Gate:
    """The served graph draws the same noise, and rounds to the same grey level or the one beside it."""
    expected = to_pixels(x_0).astype(np.int16)
    apart = float(np.abs(images.astype(np.int16) - expected).max())
    return Gate("seed to pixels", apart <= 1, apart, 1, "grey levels")


def _rows(noise: Noise, rows: list[int]) -> Noise:
    return Noise(noise.x_T[rows], noise.z[rows], noise.noise[rows])


def _located(
    gates: list[Gate], generator: Generator, engine: OnnxRuntime, noise: Noise, reference: Trajectory
) -> list[Gate]:
    """Names the op at which the first failed step drifts."""
    failed = next((gate for gate in gates if not gate.passed and gate.name.startswith("step ")), None)
    if failed is None:
        return gates
    from ddgan_deploy.drift import first_drift

    where = first_drift(generator, engine, noise, reference, step=int(failed.name.split()[1]))
    return [dataclasses.replace(gate, where=where) if gate is failed else gate for gate in gates]
