"""What a knob does: a few seeds drawn with each of the values that a family wants to be seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

from ddgan_deploy.engines.base import Engine
from ddgan_deploy.images import ENLARGED, grid
from ddgan_deploy.inputs import examples
from ddgan_deploy.parity.budget import affordable
from ddgan_deploy.sampler import Knob, Sampler

_SEEDS, _LARGE_SEEDS = 4, 2
_BATCH, _LARGE_BATCH = 16, 2


@dataclass(frozen=True)
class Sweep:
    """Images along the values of one knob; the others are as by default.

    Attributes:
        knob: whose values.
        seeds: of the rows.
        images: uint8 [seeds, values, H, W, C].
    """

    knob: Knob
    seeds: tuple[int, ...]
    images: npt.NDArray[np.uint8]

    @property
    def columns(self) -> list[str]:
        """What stands above each value's images."""
        return [_told(self.knob, value) for value in self.knob.swept]

    @property
    def reduced(self) -> int:
        """The factor from an image to its thumbnail, so that many fit into a page."""
        side: int = max(self.images.shape[2:4])
        return math.ceil(side / ENLARGED)

    def thumbnails(self) -> list[list[Image]]:
        """The images, enlarged like other small ones, or of large ones the means of blocks of pixels."""
        return [[grid(image[None]).reduce(self.reduced) for image in row] for row in self.images]


def draw_sweeps(engine: Engine) -> list[Sweep]:
    """A sweep of each knob that has values for one: 4 images a value, 2 where they are large, or as cost allows."""
    manifest = engine.artifact.manifest
    found = []
    for knob in manifest.sampler.knobs:
        wanted = _SEEDS if manifest.sampler.is_small else _LARGE_SEEDS
        seeds = affordable(manifest.gflops * len(knob.swept), wanted) if knob.swept else 0
        if seeds:
            found.append(_sweep(engine, manifest.sampler, knob, tuple(range(seeds))))
    return found


def _sweep(engine: Engine, sampler: Sampler, knob: Knob, seeds: tuple[int, ...]) -> Sweep:
    batch = _BATCH if sampler.is_small else _LARGE_BATCH
    needed = {name: value.repeat(len(knob.swept), axis=0) for name, value in examples(sampler.knobs, seeds).items()}
    each = np.array(seeds).repeat(len(knob.swept))
    values = np.tile(np.array(knob.swept, knob.dtype), len(seeds)).reshape(-1, *[1] * len(knob.shape))
    knobs = needed | {knob.name: np.broadcast_to(values, (len(each), *knob.shape))}
    parts = [slice(start, start + batch) for start in range(0, len(each), batch)]
    images = [
        engine.generate(each[part].tolist(), **{name: value[part] for name, value in knobs.items()}) for part in parts
    ]
    drawn = np.concatenate(images)
    return Sweep(knob, seeds, drawn.reshape(len(seeds), len(knob.swept), *drawn.shape[1:]))


def _told(knob: Knob, value: float) -> str:
    if knob.drawn is not None and value < 0:
        return f"{value:g} (drawn)"
    return f"{value:g} (default)" if value == knob.default else f"{value:g}"
