"""float32 -> int8, but for the layers that cost too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from ddgan_deploy.artifact.results import KeptLayer
from ddgan_deploy.export.precision.int8.layers import Layer, find_layers
from ddgan_deploy.export.precision.int8.qdq import quantize_layers
from ddgan_deploy.export.precision.int8.switchboard import Switchboard
from ddgan_deploy.export.precision.ranges import activation_ranges
from ddgan_deploy.inputs import Inputs
from ddgan_deploy.parity.comparison import psnr_of
from ddgan_deploy.parity.verify import trial
from ddgan_deploy.sampler import Probe, Sampler

MARGIN = 1.0
"""dB that every gate must hold by on the noise that layers are chosen on: other seeds do worse."""
_FIRST_SEED = 1 << 32
"""Far from those of the gates, so that these judge what nothing was fitted to."""
_RANGE_PIXELS, _MOST_FOR_RANGES, _MOST_FOR_ERRORS = 16384, 64, 32


@dataclass(frozen=True)
class Calibration:
    """What an int8 sampler is measured on.

    Attributes:
        ranges: for the ranges of activations: 64 images of 16 x 16 pixels, 16 of 32 x 32, at least 2.
        errors: for what rounding costs, on other images, so that values out of those ranges count: 32, 2, at least 1.
            They are drawn dozens of times, by a network that is the larger the larger the images are.
    """

    ranges: Inputs
    errors: Inputs

    @classmethod
    def of(cls, sampler: Sampler) -> Calibration:
        """For a sampler."""
        size = max(sampler.image[1:])
        ranges = min(max(_RANGE_PIXELS // size**2, 2), _MOST_FOR_RANGES)
        errors = min(max(2 * 32**4 // size**4, 1), _MOST_FOR_ERRORS)
        seeds = range(_FIRST_SEED, _FIRST_SEED + ranges + errors)
        first, rest = (trial(sampler, part).inputs for part in (seeds[:ranges], seeds[ranges:]))
        return cls(first, rest)


def to_int8(
    model: ir.Model,
    sampler: Sampler,
    probes: Sequence[Probe],
    calibration: Calibration,
    scratch: Path,
    symmetric: bool = False,
    kept: Sequence[KeptLayer] | None = None,
) -> tuple[KeptLayer, ...]:
    """Quantizes a float32 sampler in place; its inputs and outputs stay float32.

    Args:
        model: the sampler's graph.
        sampler: what it takes and gives.
        probes: where its gates look.
        calibration: what to measure on.
        scratch: a folder on a disk with room for the weights twice; left as it is.
        symmetric: whether every zero point is zero, as TensorRT wants it.
        kept: the layers that stay in fp32; None: as many as the gates ask for.

    Returns:
        The layers that stayed in fp32, and why.
    """
    ranges = activation_ranges(model, calibration.ranges, scratch)
    if kept is None:
        kept = choose_kept(Switchboard(model, probes, sampler.image, ranges, calibration.errors, scratch, symmetric))
    names = {layer.layer for layer in kept}
    chosen = [layer for layer in find_layers(model.graph) if layer.name not in names]
    quantize_layers(model.graph, chosen, ranges, symmetric)
    return tuple(kept)


def choose_kept(board: Switchboard) -> list[KeptLayer]:
    """The layers to leave out of int8: those that err most for what they save, as few as let the gates hold.

    Their order is by the error that a layer makes alone over the work that int8 makes faster; how many it
    takes is found by bisection.
    """
    if board.headroom([layer.name for layer in board.layers]) >= MARGIN:
        return []
    errors = {layer.name: float(np.mean(board.errors([layer.name]))) for layer in board.layers}
    order = sorted(board.layers, key=lambda layer: -errors[layer.name] / layer.work)
    too_few, enough = 0, len(order)
    while enough - too_few > 1:
        count = (too_few + enough) // 2
        if board.headroom([layer.name for layer in order[count:]]) >= MARGIN:
            enough = count
        else:
            too_few = count
    total = sum(layer.work for layer in board.layers)
    return [KeptLayer(layer.name, _reason(layer, errors[layer.name], total)) for layer in order[:enough]]


def _reason(layer: Layer, error: float, total: int) -> str:
    return f"int8 in this layer alone leaves {psnr_of(error):.1f} dB, for {layer.work / total:.2%} of the work"
