"""A seed's way, step by step: what each step starts from, and the image as it is seen there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ddgan_deploy.engines.base import Engine, Probing
from ddgan_deploy.errors import InputError
from ddgan_deploy.images import to_pixels
from ddgan_deploy.inputs import Array, Inputs, Knobs, draw
from ddgan_deploy.interpolation import Walk
from ddgan_deploy.play.source import BATCH
from ddgan_deploy.sampler import Probe, Sampler


class Picture(NamedTuple):
    """What is shown of a step.

    Attributes:
        name: such as "step 2 (t=1) x0".
        pixels: uint8 [H, W, C]; values beyond -1 and 1 are black and white.
    """

    name: str
    pixels: npt.NDArray[np.uint8]


class Way(NamedTuple):
    """A seed's way.

    Attributes:
        states: what each step starts from, the noise first.
        seen: the images as the steps see them; the last is the one that is drawn.
        steps: how many there are; where they are many some are left out.
    """

    states: list[Picture]
    seen: list[Picture]
    steps: int


def why_not(engine: Engine | None) -> str:
    """Why steps cannot be shown; "" where they can."""
    if engine is None:
        return "A server tells nothing of its steps: open the artifact itself with ddgan-play DIR."
    if not any(probe.state for probe in engine.artifact.manifest.probes):
        return "This artifact draws in one step: there is nothing between the noise and the image."
    if not isinstance(engine, Probing):
        return f"{engine.name} tells nothing of its steps: open the artifact with --engine onnxruntime."
    return ""


def way_of(engine: Engine, seed: int, knobs: Knobs, most: int) -> Way:
    """One run of the sampler, looked into.

    Args:
        engine: of which `why_not` says nothing.
        seed, knobs: as of `inputs.draw`.
        most: pictures of each kind; of more, so many evenly spread, the first and the last among them.

    Raises:
        InputError: as `inputs.draw`.
    """
    assert isinstance(engine, Probing)
    manifest = engine.artifact.manifest
    inputs = draw(manifest.sampler, [seed], knobs)
    states = _spread([probe for probe in manifest.probes if probe.state], most - 1)
    seen = _spread([probe for probe in manifest.probes if probe.shown], most)
    probes = list(dict.fromkeys(probe.node for probe in (*states, *seen)))
    values = dict(zip(probes, engine.probe(inputs, probes), strict=True))
    return Way(
        [*_start(manifest.sampler, inputs), *_pictures(states, values)], _pictures(seen, values), manifest.sampler.steps
    )


def between_seeds(engine: Engine, first: int, second: int, steps: int, knobs: Knobs) -> npt.NDArray[np.uint8]:
    """Images uint8 [steps + 1, H, W, C] from one seed to another, both ends included.

    Raises:
        InputError: as `interpolation.Walk`, or the two are one.
    """
    if first == second:
        raise InputError(f"seed {first} is given twice, and nothing lies between: give two seeds")
    walk, sampler = Walk((first, second), steps), engine.artifact.manifest.sampler
    batches = [range(len(walk))[start : start + BATCH] for start in range(0, len(walk), BATCH)]
    return np.concatenate([to_pixels(engine.sample(walk.inputs(sampler, places, knobs))) for places in batches])


def _start(sampler: Sampler, inputs: Inputs) -> list[Picture]:
    """The noise that the first step starts from: a draw of an image's form."""
    draws = [part for part in sampler.draws if part.input_shape == sampler.image]
    return [Picture(part.name, to_pixels(inputs[part.name])[0]) for part in draws[:1]]


def _pictures(probes: Sequence[Probe], values: dict[str, Array]) -> list[Picture]:
    return [Picture(probe.name, to_pixels(values[probe.node])[0]) for probe in probes]


def _spread(probes: list[Probe], most: int) -> list[Probe]:
    if len(probes) <= most:
        return probes
    return [probes[int(place)] for place in np.unique(np.linspace(0, len(probes) - 1, max(most, 1)).round())]
