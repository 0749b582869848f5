"""From one seed to the next, through what the sampler is fed with.

What a seed draws from the normal distribution in n dimensions lies close to a sphere of radius sqrt(n), and a straight
line between two such draws leaves it: its middle is shorter by sqrt(2), and no network was trained on that. So a draw
follows the great circle instead (slerp; Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985). For a
and b with the angle w between them, at t in [0, 1]:

    ((1 - t) |a| + t |b|) * (sin((1 - t) w) / sin(w) * a / |a| + sin(t w) / sin(w) * b / |b|)

All of a draw is one vector, and where every step draws anew, each step's draw is one. Parallel and opposite vectors,
which have no great circle or no single one (those of one element always), and zeros are interpolated linearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import MAX_SEEDS, NO_KNOBS, Array, Inputs, Knobs, draw, rows, seed_array, served_knobs
from ddgan_deploy.sampler import Sampler, Streams

_PARALLEL = 1e-6
"""Sine of the angle below which a great circle is no more exact than a line."""


@dataclass(frozen=True)
class Walk:
    """Images at equal steps from each seed to the next: those of the seeds, and steps - 1 between two.

    No image comes twice: the end of one pair is the start of the next.

    Attributes:
        seeds: two or more, each as of `inputs.draw`; the first once more at the end makes a loop.
        steps: from one to the next, 2 or more.

    Raises:
        InputError: these are no such numbers, or there are over a million images.
    """

    seeds: tuple[int, ...]
    steps: int

    def __post_init__(self) -> None:
        seed_array(self.seeds)
        if len(self.seeds) < 2:
            raise InputError(f"seed {self.seeds[0]} has no other to go to: give two seeds or more, such as 0,3,7")
        if self.steps < 2:
            raise InputError(f"steps from a seed to the next: {self.steps} leave no image between them, give 2 or more")
        if len(self) > MAX_SEEDS:
            raise InputError(f"{len(self):,} images are over {MAX_SEEDS:,}: give fewer seeds or steps")

    def __len__(self) -> int:
        return (len(self.seeds) - 1) * self.steps + 1

    def at(self, place: int) -> tuple[int, int]:
        """Which pair an image is of, from 0 on, and how many steps from its first seed; the last one ends its pair."""
        pair, step = divmod(place, self.steps)
        return (pair, step) if pair < len(self.seeds) - 1 else (pair - 1, self.steps)

    def pair(self, place: int) -> tuple[int, int]:
        """The two seeds that an image lies between."""
        pair, _ = self.at(place)
        return self.seeds[pair], self.seeds[pair + 1]

    def t(self, place: int) -> float:
        """How far an image is from the first of its seeds to the second, 0 to 1."""
        return self.at(place)[1] / self.steps

    def inputs(self, sampler: Sampler, places: Sequence[int], knobs: Knobs = NO_KNOBS) -> dict[str, Array]:
        """What the sampler's graph is fed for some images.

        Args:
            sampler: what it takes.
            places: of the images, 0 <= place < len(self).
            knobs: a value for all seeds, or one for each; a knob's values are interpolated too.

        Raises:
            InputError: as `inputs.served_knobs`.
        """
        firsts = [self.at(place)[0] for place in places]
        start, stop = min(firsts), max(firsts) + 2
        values = rows(served_knobs(sampler.knobs, len(self.seeds), knobs), slice(start, stop))
        ends = draw(sampler, self.seeds[start:stop], values)
        first, second = (rows(ends, [pair - start + side for pair in firsts]) for side in (0, 1))
        return between(sampler, first, second, [self.t(place) for place in places])


def between(sampler: Sampler, first: Inputs, second: Inputs, t: Sequence[float]) -> dict[str, Array]:
    """What the sampler's graph is fed for images between others.

    Normal draws go along great circles, knobs of type float32 and pictures linearly. Integers, such as a label, are
    those of the nearer image, in the middle of the first one. At 0 and 1 all is that of the two images themselves, to
    the bit.

    Args:
        sampler: what it takes.
        first, second: as `inputs.draw` gives it for N images.
        t: N positions between the two, 0 to 1.
    """
    mixed = {}
    for draws in sampler.draws:
        vectors = draws.streams.count if isinstance(draws.streams, Streams) else 1
        mixed[draws.name] = _mixed(first[draws.name], second[draws.name], t, vectors)
    return mixed | {knob.name: _mixed(first[knob.name], second[knob.name], t, None) for knob in sampler.knobs}


def _mixed(first: Array, second: Array, t: Sequence[float], vectors: int | None) -> Array:
    """Image by image, for which float64 of one image at a time is held; vectors: None for a straight line."""
    mixed = np.empty_like(first)
    for place, at in enumerate(t):
        a, b = first[place], second[place]
        if first.dtype.kind != "f" or at in (0, 1):
            mixed[place] = a if at <= 0.5 else b
        elif vectors is None:
            mixed[place] = (1 - at) * a.astype(np.float64) + at * b.astype(np.float64)
        else:
            mixed[place] = _on_great_circle(a.reshape(vectors, -1), b.reshape(vectors, -1), at).reshape(a.shape)
    return mixed


def _on_great_circle(a: Array, b: Array, t: float) -> npt.NDArray[np.float64]:
    """Of each row of two matrices."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    product = lengths[0] * lengths[1]
    safe = np.where(product > 0, product, 1)
    angle = np.arccos(np.clip((a * b).sum(axis=1) / safe, -1, 1))
    curved = (product > 0) & (np.sin(angle) > _PARALLEL)
    length = (1 - t) * lengths[0] + t * lengths[1]
    weights = []
    for own, share in zip(lengths, (1 - t, t), strict=True):
        scale = length * np.sin(share * angle)
        weights.append(np.divide(scale, own * np.sin(angle), out=np.full_like(scale, share), where=curved))
    mixed: npt.NDArray[np.float64] = weights[0][:, None] * a + weights[1][:, None] * b
    return mixed
