"""How far a tensor is from its reference, in the reference's own scale.

    scale = min(max(1, RMS), 10 RMS)    the RMS of the reference, over the whole batch
    PSNR  = 20 log10(2 scale / RMSE)

States of the sampler and images in [-1, 1] are of order one: their scale is 1, and 2 is the range of an image. Rounding
grows with the values, so what is larger has its RMS as its scale: not its range, which is eight times as much for
noise and would let through as much more.

Between 0.1 and 1 the scale is still 1, since a grey level is worth the same in a faint image. Below, limits that stay
would say nothing: zeros in place of values of 1e-5 are within all of them. There the scale is 10 RMS, at which zeros
come to 26 dB, less than any gate asks for, as they do above.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.results import EQUAL_PSNR

RANGE = 2.0
"""Of an image in [-1, 1]."""
_FAINT = 10.0
"""The most that a scale is of an RMS."""

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Distance:
    """What lies between a tensor and its reference.

    Attributes:
        max_abs: largest absolute difference, in the tensors' own units; the largest float32 where not finite.
        psnr: see `psnr`.
        scale: see `scale_of`.
    """

    max_abs: float
    psnr: float
    scale: float


def distance(reference: Float32, got: Float32) -> Distance:
    """Compares a tensor with its reference."""
    scale = scale_of(reference)
    return Distance(max_abs(reference, got), psnr(reference, got, scale), scale)


def scale_of(reference: Float32) -> float:
    """What errors in a tensor are measured by, in its own units; more than 0, and 1 where it is not finite."""
    rms = math.sqrt(np.mean(reference.astype(np.float64) ** 2))
    if not math.isfinite(rms):
        return 1.0
    return max(min(max(1.0, rms), _FAINT * rms), float(np.finfo(np.float32).tiny))


def psnr(a: Float32, b: Float32, scale: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB for a range of twice the scale; `EQUAL_PSNR` where equal, 0 where not finite."""
    return psnr_of(squared_error(a, b, scale))


def squared_error(a: Float32, b: Float32, scale: float = 1.0) -> float:
    """Mean squared error in units of the scale."""
    return float(np.mean(((a.astype(np.float64) - b.astype(np.float64)) / scale) ** 2))


def psnr_of(error: float) -> float:
    """As `psnr`, from the `squared_error`."""
    if not math.isfinite(error):
        return 0.0
    return EQUAL_PSNR if error == 0 else 10 * math.log10(RANGE**2 / error)


def max_abs(a: Float32, b: Float32) -> float:
    """Largest absolute difference; the largest float32 where not finite, since JSON has no infinity."""
    difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
    largest = float(np.finfo(np.float32).max)
    return float(np.nan_to_num(difference, nan=largest, posinf=largest).max())
