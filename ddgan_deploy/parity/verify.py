"""The proof: an engine against the reference sampler, on the same noise.

Tolerances: fp32 at most 1e-4 a step; fp16 and int8 at least 40 dB, an error of a hundredth of the range [-1, 1].
Both are for values of order one, and follow the scale of values that are larger or faint (`comparison`). An int8
artifact's steps are gated one by one, each from the reference's own state, and its x_0 where it arrives on its own.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.manifest import Precision
from ddgan_deploy.artifact.results import Gate, ParityResult, StepParity
from ddgan_deploy.checkpoint import Checkpoint
from ddgan_deploy.engines.base import Engine
from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.schedule import Trajectory, sample
from ddgan_deploy.images import to_pixels
from ddgan_deploy.noise import Noise, draw
from ddgan_deploy.parity.comparison import RANGE, Distance, distance, max_abs, psnr

FP32_MAX_ABS = 1e-4
MIN_PSNR: Mapping[Precision, float] = {"fp16": 40.0, "int8": 40.0}
INT8_MIN_X0_PSNR = 30.0
"""Of a step before the last one, which hands on x_prev: most of that is the state before, and little is this x0."""
BATCH_TOLERANCE: Mapping[Precision, float] = {"fp32": 1e-4, "fp16": 2e-2}
"""A runtime may sum in another order at another batch size, so rows alone and in a batch differ by rounding.
That of int8 is of the size of its own error, whose limit serves for it too."""
SMALL_IMAGE = 64
"""Pixels along a side up to which several images at once cost little."""
GREY_LEVELS = 255 / RANGE
"""Of one unit of x_0."""
_SAME_KERNELS: Mapping[Precision, float] = {"fp32": 1e-4, "fp16": 5e-3, "int8": 5e-3}
"""How far noise whose last bits differ moves x_0 where the kernels are the same."""
_REFERENCE_ITSELF = "the PyTorch reference, since the network itself gives values that float32 does not hold"
_PIXEL_GATE = "seed to pixels"
_PIXEL_PSNR = MIN_PSNR["int8"]
_MOST_OF_CONTRAST = 0.25
"""The most that pixels may be off, as RMSE, of their standard deviation: an even grey is off by all of it at least, and
the image of another seed by more."""


@dataclass(frozen=True)
class Outcome:
    """A parity run.

    Attributes:
        result: the gates.
    """

    result: ParityResult


@dataclass(frozen=True)
class Verification(Outcome):
    """A parity run step by step, with the images behind it.

    Attributes:
        reference, engine: both trajectories, on the same noise.
        images: of the served graph, uint8 [N, H, W, C].
    """

    reference: Trajectory
    engine: Trajectory
    images: npt.NDArray[np.uint8]


def default_seeds(config: GeneratorConfig) -> range:
    """What is drawn for the gates unless told otherwise: fewer images where they are large."""
    return range(4 if config.image_size <= SMALL_IMAGE else 2)


@overload
def verify(checkpoint: Checkpoint, engine: OnnxRuntime, seeds: Sequence[int] | None = None) -> Verification: ...
@overload
def verify(checkpoint: Checkpoint, engine: Engine, seeds: Sequence[int] | None = None) -> Outcome: ...
def verify(checkpoint: Checkpoint, engine: Engine, seeds: Sequence[int] | None = None) -> Outcome:
    """Runs every gate; those of single steps, and where one drifts, only on ONNX Runtime, which tells inner values.

    Args:
        checkpoint: what the artifact should compute.
        engine: the artifact, opened.
        seeds: to sample with; None: a few from 0 on, fewer for large images.
    """
    start = time.perf_counter()
    manifest = engine.artifact.manifest
    config = manifest.generator
    if seeds is None:
        seeds = default_seeds(config)
    noise = draw(seeds, config.image_shape, config.nz, manifest.steps)
    generator = checkpoint.generator()
    reference = sample(generator, manifest.schedule, noise.x_T, noise.z, noise.noise)
    if isinstance(engine, OnnxRuntime):
        verification = _verify_steps(generator, reference, engine, noise, seeds)
        return dataclasses.replace(verification, result=_timed(verification.result, start))
    result = verify_outputs(reference.x_prev[-1], engine, noise, seeds, manifest.precision)
    return Outcome(_timed(result, start))


def verify_outputs(
    reference_x_0: npt.NDArray[np.float32],
    engine: Engine,
    noise: Noise,
    seeds: Sequence[int],
    precision: Precision,
) -> ParityResult:
    """Runs the gates that look at the end of the way alone, on any engine.

    Args:
        reference_x_0: [N, C, H, W] of the reference, from ``noise``.
        engine: what should compute the same.
        noise: of the seeds.
        seeds: N of them.
        precision: of the engine.
    """
    start = time.perf_counter()
    images, x_0 = engine.generate(seeds), engine.sample(noise)
    at_end = distance(reference_x_0, x_0)
    # Side by side, so that an engine that splits the batch has both in one.
    twins = engine.sample(_rows(noise, [0, 0, *range(1, len(seeds))]))
    gates = (
        _finite_gate((reference_x_0,), (x_0,)),
        _tensor_gate("x_0 against PyTorch", at_end, precision),
        _twin_gate(twins[0], twins[1]),
        _alone_gate(engine.sample(_rows(noise, [0])), x_0, at_end.scale, precision),
        _engine_pixel_gate(images, x_0, at_end.scale, precision),
    )
    return _timed(ParityResult(engine.name, tuple(seeds), (), gates, 0.0), start)


def _verify_steps(
    generator: Generator, reference: Trajectory, engine: OnnxRuntime, noise: Noise, seeds: Sequence[int]
) -> Verification:
    """The gates of every step, and of the file as it is, whose inner values nobody reads."""
    precision, steps = engine.artifact.manifest.precision, engine.artifact.manifest.steps
    # The first seed twice, so that one run also shows whether equal rows stay equal.
    rows_and_first = [*range(len(seeds)), 0]
    # Rounding to int8 moves a state far enough that the steps after it would show its error rather than their own.
    states = reference.x_prev[:-1, rows_and_first] if precision == "int8" else None
    doubled = engine.trajectory(_rows(noise, rows_and_first), states)
    trajectory = Trajectory(doubled.x0[:, :-1], doubled.x_prev[:, :-1])
    images, x_0 = engine.generate(seeds), engine.sample(noise)
    at_end = distance(reference.x_prev[-1], x_0)
    rows = [_step(k, steps - 1 - k, reference, trajectory) for k in range(steps)]
    gates = [
        _finite_gate((reference.x_prev, reference.x0), (trajectory.x_prev, trajectory.x0)),
        *(gate for row in rows for gate in _step_gates(row, precision)),
        _tensor_gate("x_0 of the file as it is", at_end, precision),
        _twin_gate(doubled.x_prev[:, 0], doubled.x_prev[:, -1]),
        _alone_gate(engine.sample(_rows(noise, [0])), x_0, at_end.scale, precision),
        _served_pixel_gate(images, x_0, at_end.scale, precision),
    ]
    gates = _located(gates, generator, engine, noise, reference)
    result = ParityResult(engine.name, tuple(seeds), tuple(rows), tuple(gates), 0.0)
    return Verification(result, reference, trajectory, images)


def _timed(result: ParityResult, start: float) -> ParityResult:
    return dataclasses.replace(result, seconds=time.perf_counter() - start)


def _step(k: int, t: int, reference: Trajectory, engine: Trajectory) -> StepParity:
    x0, x_prev = distance(reference.x0[k], engine.x0[k]), distance(reference.x_prev[k], engine.x_prev[k])
    return StepParity(k, t, x0.max_abs, x0.psnr, x_prev.max_abs, x_prev.psnr, x0.scale, x_prev.scale)


def _step_gates(row: StepParity, precision: Precision) -> list[Gate]:
    title = f"step {row.step} (t={row.t})"
    last = "x_0" if row.t == 0 else "x_prev"
    if precision == "int8" and row.t > 0:
        x0 = _psnr_gate(f"{title} x0", row.x0_psnr, INT8_MIN_X0_PSNR)
    else:
        x0 = _tensor_gate(f"{title} x0", Distance(row.x0_max_abs, row.x0_psnr, row.x0_scale), precision)
    x_prev = Distance(row.x_prev_max_abs, row.x_prev_psnr, row.x_prev_scale)
    return [x0, _tensor_gate(f"{title} {last}", x_prev, precision)]


def _tensor_gate(name: str, apart: Distance, precision: Precision) -> Gate:
    if precision == "fp32":
        return _max_abs_gate(name, apart.max_abs, FP32_MAX_ABS * apart.scale)
    return _psnr_gate(name, apart.psnr, MIN_PSNR[precision])


def _max_abs_gate(name: str, apart: float, limit: float) -> Gate:
    return Gate(name, apart <= limit, apart, limit, "max abs")


def _psnr_gate(name: str, decibel: float, limit: float) -> Gate:
    return Gate(name, decibel >= limit, decibel, limit, "dB")


def _finite_gate(reference: Sequence[npt.NDArray[np.float32]], engine: Sequence[npt.NDArray[np.float32]]) -> Gate:
    """Fails for the reference's own values too: no engine can be held to those."""
    in_reference, in_engine = (
        sum(int(np.size(tensor) - np.isfinite(tensor).sum()) for tensor in tensors) for tensors in (reference, engine)
    )
    bad = in_reference or in_engine
    return Gate("no NaN or Inf", bad == 0, bad, 0, "values", _REFERENCE_ITSELF if in_reference else "")


def _twin_gate(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> Gate:
    differing = float(np.sum(one != other))
    return Gate("identical rows stay identical", differing == 0, differing, 0, "values")


def _alone_gate(
    alone: npt.NDArray[np.float32], batch: npt.NDArray[np.float32], scale: float, precision: Precision
) -> Gate:
    name = "a sample alone equals it in a batch"
    if precision == "int8":
        return _psnr_gate(name, psnr(batch[:1], alone, scale), MIN_PSNR[precision])
    return _max_abs_gate(name, max_abs(batch[:1], alone), BATCH_TOLERANCE[precision] * scale)


def _pixel_gate(images: npt.NDArray[np.uint8], x_0: npt.NDArray[np.float32], tolerance: float, scale: float) -> Gate:
    """The served graph draws the same noise, and rounds to the same grey level or one close by.

    Of a large range most pixels are cut off at black or white, and stay there; few lie so near to the levels between
    that rounding moves them far. What these may do all together is bounded by `_contrast_gate`.

    Args:
        images: uint8 [N, H, W, C] of the served graph.
        x_0: [N, C, H, W] of the sampler, from the same noise in NumPy.
        tolerance: how far apart the x_0 of both may be at a scale of 1.
        scale: of x_0.

    Returns:
        The pixel that is nearest to its limit, or furthest beyond.
    """
    apart = np.abs(images.astype(np.int16) - to_pixels(x_0))
    limits = _pixel_limits(x_0, tolerance * max(scale, 1.0))
    # Where all are equal, the strictest limit tells most.
    worst = np.argmax((apart + 1e-6) / limits)
    measured, limit = float(apart.flat[worst]), float(limits.flat[worst])
    levels = Gate(_PIXEL_GATE, measured <= limit, measured, limit, "grey levels")
    if not levels.passed or scale <= 1:
        return levels
    contrast = _contrast_gate(images, x_0, scale)
    return levels if contrast.passed else contrast


def _pixel_limits(x_0: npt.NDArray[np.float32], error: float) -> npt.NDArray[np.int16]:
    """By how many levels an error in x_0 can move each pixel, [N, H, W, C]; one more for values between two levels."""
    # Never finer than a grey level, however faint the image is.
    beyond = np.maximum(np.abs(np.nan_to_num(x_0.astype(np.float64))) - 1, 0)
    limits: npt.NDArray[np.int16] = 1 + (np.clip(error - beyond, 0, RANGE) * GREY_LEVELS).astype(np.int16)
    return limits.transpose(0, 2, 3, 1)


def _contrast_gate(images: npt.NDArray[np.uint8], x_0: npt.NDArray[np.float32], scale: float) -> Gate:
    """The pixels' error follows the scale of x_0 too, as far as it is small beside what the images show."""
    one, other = (pixels.astype(np.float32) / np.float32(GREY_LEVELS) for pixels in (images, to_pixels(x_0)))
    most = _MOST_OF_CONTRAST * float(other.std()) / (RANGE * 10 ** (-_PIXEL_PSNR / 20))
    return _psnr_gate(_PIXEL_GATE, psnr(one, other, max(min(scale, most), 1.0)), _PIXEL_PSNR)


def _served_pixel_gate(
    images: npt.NDArray[np.uint8], x_0: npt.NDArray[np.float32], scale: float, precision: Precision
) -> Gate:
    """As `_pixel_gate`, for a served graph that runs the sampler's own kernels."""
    if precision == "int8" and scale > 1:
        # Noise whose last bits differ is rounded to another integer here and there, which moves larger values by more.
        return _contrast_gate(images, x_0, scale)
    return _pixel_gate(images, x_0, _SAME_KERNELS[precision], scale)


def _engine_pixel_gate(
    images: npt.NDArray[np.uint8], x_0: npt.NDArray[np.float32], scale: float, precision: Precision
) -> Gate:
    """As `_pixel_gate`, for a served graph that is an engine of its own.

    Its kernels may be others and sum in another order, as at another batch size: so much more is allowed.
    """
    if precision == "int8":
        return _contrast_gate(images, x_0, scale)
    return _pixel_gate(images, x_0, BATCH_TOLERANCE[precision], scale)


def _rows(noise: Noise, rows: list[int]) -> Noise:
    return Noise(noise.x_T[rows], noise.z[rows], noise.noise[rows])


def _located(
    gates: list[Gate], generator: Generator, engine: OnnxRuntime, noise: Noise, reference: Trajectory
) -> list[Gate]:
    """Names the op at which the first failed step drifts, unless what is wrong has its place already."""
    failed = next((gate for gate in gates if not gate.passed and gate.name.startswith("step ")), None)
    if failed is None or any(gate.where for gate in gates):
        return gates
    from ddgan_deploy.parity.drift import first_drift

    where = first_drift(generator, engine, noise, reference, step=int(failed.name.split()[1]))
    return [dataclasses.replace(gate, where=where) if gate is failed else gate for gate in gates]
