"""Single gates: what is compared, and how far apart it may be.

Tolerances: fp32 at most 1e-4 a value; fp16 and int8 at least 40 dB, an error of a hundredth of the range [-1, 1].
Both are for values of order one, and follow the scale of values that are larger or faint (`comparison`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.results import Gate, ProbeParity
from ddgan_deploy.images import to_pixels
from ddgan_deploy.parity.comparison import RANGE, Distance, max_abs, psnr
from ddgan_deploy.sampler import Precision, Probe

FP32_MAX_ABS = 1e-4
MIN_PSNR: Mapping[Precision, float] = {"fp16": 40.0, "int8": 40.0}
BATCH_TOLERANCE: Mapping[Precision, float] = {"fp32": 1e-4, "fp16": 2e-2}
"""A runtime may sum in another order at another batch size, so rows alone and in a batch differ by rounding.
That of int8 is of the size of its own error, whose limit serves for it too."""
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


def probe_gate(probe: Probe, row: ProbeParity, precision: Precision) -> Gate:
    """Of one value inside the sampler."""
    if (limit := probe.psnr.get(precision)) is not None:
        return _psnr_gate(probe.name, row.psnr, limit)
    # What the family says is amplified may be off by as much more in fp32; a PSNR is in the value's own scale.
    return tensor_gate(probe.name, Distance(row.max_abs, row.psnr, row.scale * probe.scale), precision)


def limit_of(probe: Probe, precision: Precision) -> float:
    """dB that a probe's gate asks for in a precision that is held to decibels."""
    return probe.psnr.get(precision, MIN_PSNR[precision])


def tensor_gate(name: str, apart: Distance, precision: Precision) -> Gate:
    if precision == "fp32":
        return _max_abs_gate(name, apart.max_abs, FP32_MAX_ABS * apart.scale)
    return _psnr_gate(name, apart.psnr, MIN_PSNR[precision])


def _max_abs_gate(name: str, apart: float, limit: float) -> Gate:
    return Gate(name, apart <= limit, apart, limit, "max abs")


def _psnr_gate(name: str, decibel: float, limit: float) -> Gate:
    return Gate(name, decibel >= limit, decibel, limit, "dB")


def finite_gate(reference: Sequence[npt.NDArray[np.float32]], engine: Sequence[npt.NDArray[np.float32]]) -> Gate:
    """Fails for the reference's own values too: no engine can be held to those."""
    in_reference, in_engine = (
        sum(int(np.size(tensor) - np.isfinite(tensor).sum()) for tensor in tensors) for tensors in (reference, engine)
    )
    bad = in_reference or in_engine
    return Gate("no NaN or Inf", bad == 0, bad, 0, "values", _REFERENCE_ITSELF if in_reference else "")


def twin_gate(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> Gate:
    differing = float(np.sum(one != other))
    return Gate("identical rows stay identical", differing == 0, differing, 0, "values")


def alone_gate(
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


def served_pixel_gate(
    images: npt.NDArray[np.uint8], x_0: npt.NDArray[np.float32], scale: float, precision: Precision
) -> Gate:
    """As `_pixel_gate`, for a served graph that runs the sampler's own kernels."""
    if precision == "int8" and scale > 1:
        # Noise whose last bits differ is rounded to another integer here and there, which moves larger values by more.
        return _contrast_gate(images, x_0, scale)
    return _pixel_gate(images, x_0, _SAME_KERNELS[precision], scale)


def engine_pixel_gate(
    images: npt.NDArray[np.uint8], x_0: npt.NDArray[np.float32], scale: float, precision: Precision
) -> Gate:
    """As `_pixel_gate`, for a served graph that is an engine of its own.

    Its kernels may be others and sum in another order, as at another batch size: so much more is allowed.
    """
    if precision == "int8":
        return _contrast_gate(images, x_0, scale)
    return _pixel_gate(images, x_0, BATCH_TOLERANCE[precision], scale)
