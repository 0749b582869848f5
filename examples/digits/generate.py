"""Images of seeds, by the reference sampler."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ddgan_deploy.families.ddgan.family import FAMILY
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.reference import reference
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.images import to_pixels
from ddgan_deploy.inputs import draw
from ddgan_deploy.parity.verify import reference_values

BATCH = 250


def generate(generator: Generator, schedule: Schedule, seeds: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Images uint8 [N, H, W, C], equal to what a served artifact returns for these seeds up to rounding."""
    sampler, parts = FAMILY.sampler(generator.config, schedule), []
    for start in range(0, len(seeds), BATCH):
        inputs = draw(sampler, seeds[start : start + BATCH])
        parts.append(to_pixels(reference_values(reference(generator, schedule), inputs)[-1]))
    return np.concatenate(parts)
