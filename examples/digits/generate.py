"""Images of seeds, by the reference sampler."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.schedule import Schedule, sample
from ddgan_deploy.images import to_pixels
from ddgan_deploy.noise import draw

BATCH = 250


def generate(generator: Generator, schedule: Schedule, seeds: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Images uint8 [N, H, W, C], equal to what a served artifact returns for these seeds up to rounding."""
    config, parts = generator.config, []
    for start in range(0, len(seeds), BATCH):
        noise = draw(seeds[start : start + BATCH], config.image_shape, config.nz, schedule.steps)
        trajectory = sample(generator, schedule, noise.x_T, noise.z, noise.noise)
        parts.append(to_pixels(trajectory.x_prev[-1]))
    return np.concatenate(parts)
