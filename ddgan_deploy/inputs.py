"""Seeds and knobs -> what a run is fed."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ddgan_deploy.errors import InputError
from ddgan_deploy.kernels.philox_normal.philox import integers, normal, philox4x32
from ddgan_deploy.sampler import EXAMPLE_STREAM, STAGE_STREAM, Draw, Knob, Sampler, Streams

MAX_SEEDS = 1_000_000
_LEVELS = 1024
"""Of an example, between the least and the most that a knob may be."""
Array = npt.NDArray[Any]
Inputs = Mapping[str, Array]
"""Of the sampler's graph, by name; the batch comes first."""
Knobs = Mapping[str, npt.ArrayLike]
"""Of a call, by name: a value for all images, or one for each, [N, *shape]."""
NO_KNOBS: Knobs = {}


def draw(sampler: Sampler, seeds: Sequence[int], knobs: Knobs = NO_KNOBS) -> dict[str, Array]:
    """What the sampler's graph is fed for each seed.

    Args:
        sampler: what it takes.
        seeds: N integers in -2**63..2**64-1; a negative one stands for its two's complement.
        knobs: where others than the defaults are wanted.

    Raises:
        InputError: there are no seeds, one is no 64-bit integer; or as `served_knobs`.
    """
    keys = seed_array(seeds)[:, 0]
    values = served_knobs(sampler.knobs, len(keys), knobs)
    drawn = {part.name: _drawn(part, keys) for part in sampler.draws}
    return drawn | {knob.name: _as_input(knob, values[knob.name], keys) for knob in sampler.knobs}


def served_inputs(sampler: Sampler, seeds: Sequence[int], knobs: Knobs = NO_KNOBS) -> dict[str, Array]:
    """What the served graph is fed for each seed; arguments and errors as of `draw`."""
    words = seed_array(seeds)
    values = served_knobs(sampler.knobs, len(words), knobs)
    return {"seed": words} | {name: np.array(value, order="C") for name, value in values.items()}


def served_knobs(known: Sequence[Knob], count: int, knobs: Knobs = NO_KNOBS) -> dict[str, Array]:
    """All knobs as the served graph takes them, [count, *shape] each; what all images share is there once.

    Args:
        known: all that there are.
        count: of images.
        knobs: those that are given.

    Raises:
        InputError: a knob is unknown, must be given and is not, is out of its range, or has another shape.
    """
    names = [knob.name for knob in known]
    for name in knobs:
        if name not in names:
            raise InputError(f"there is no knob {name}, {_listed(names)}: leave it out")
    return {knob.name: _knob_array(knob, count, knobs.get(knob.name)) for knob in known}


def at_stage(
    known: Sequence[Knob], stage: int, seeds: Sequence[int], knobs: Knobs = NO_KNOBS
) -> tuple[list[int], dict[str, Array]]:
    """What an artifact behind others is asked with, so that its noise is not that of the picture which it enlarges.

    Its seed is made of the words 0 and 1 of the block ``stage``, from low to high. What a knob draws, such as a class,
    it draws from the seed that was asked for, and so it is the same at all stages.

    Args:
        known: all knobs of the artifact.
        stage: how many are before it, 0 or more; of the first nothing is changed.
        seeds, knobs: as of `draw`.

    Raises:
        InputError: as `draw`.
    """
    values = served_knobs(known, len(seeds), knobs)
    if not stage:
        return list(seeds), values
    drawn = drawn_knobs(known, seeds, values)
    words = seed_array(seeds)[:, 0].view(np.uint64)
    low, high, *_ = philox4x32((stage, STAGE_STREAM, 0, 0), (words & np.uint64(2**32 - 1), words >> np.uint64(32)))
    return (low | high << np.uint64(32)).tolist(), values | drawn


def drawn_knobs(known: Sequence[Knob], seeds: Sequence[int], values: Mapping[str, Array]) -> dict[str, Array]:
    """The knobs that a seed may decide, such as a class, as they come out: [N, *shape] each.

    Args:
        known: all knobs.
        seeds: N integers.
        values: of all knobs, as of `served_knobs`.

    Raises:
        InputError: a seed is no 64-bit integer.
    """
    keys = seed_array(seeds)[:, 0]
    return {knob.name: _as_input(knob, values[knob.name], keys) for knob in known if knob.drawn is not None}


def examples(known: Sequence[Knob], seeds: Sequence[int]) -> dict[str, Array]:
    """Values for the knobs that must be given, drawn from the seeds evenly over what each may be."""
    keys = seed_array(seeds)[:, 0]
    return {knob.name: _example(knob, keys) for knob in known if knob.default is None}


def rows(inputs: Inputs, which: Sequence[int] | slice) -> dict[str, Array]:
    """The inputs of some images."""
    index = which if isinstance(which, slice) else list(which)
    return {name: value[index] for name, value in inputs.items()}


def _drawn(part: Draw, keys: Array) -> Array:
    if isinstance(part.streams, Streams):
        return np.stack([_from_stream(part, keys, part.streams.at(k)) for k in range(part.streams.count)], axis=1)
    return _from_stream(part, keys, part.streams)


def _from_stream(part: Draw, keys: Array, stream: int) -> Array:
    if part.below:
        return integers(keys, stream, part.shape, part.below)
    return normal(keys, stream, part.shape)


def _knob_array(knob: Knob, count: int, value: npt.ArrayLike | None) -> Array:
    if value is None:
        if knob.default is None:
            raise InputError(f"the knob {knob.name} must be given: {knob.dtype} {list(knob.shape)} for every image")
        value = knob.default
    given = _array(value)
    right = f"give a number in {knob.least:g}..{knob.most:g}"
    if given.dtype.kind not in "biuf" or (knob.dtype != "float32" and given.dtype.kind == "f" and (given % 1).any()):
        raise InputError(f"{knob.name} {_told(value)} is no {knob.dtype}: {right}")
    beyond = given[~((given >= knob.least) & (given <= knob.most))]
    if beyond.size:
        raise InputError(f"{knob.name} {float(beyond[0]):.12g} is out of range: {right}")
    shape = (count, *knob.shape)
    if knob.shape == (1,) and given.shape == (count,):
        given = given.reshape(shape)
    # Of all that NumPy would spread over the images only what can mean one thing, however many there are.
    if given.shape not in ((), knob.shape, (1, *knob.shape), shape):
        each = f"{knob.dtype} {list(knob.shape)}"
        raise InputError(f"{knob.name} has shape {list(given.shape)}: give {each} for all images, or {list(shape)}")
    return np.broadcast_to(given.astype(knob.dtype), shape)


def _array(value: npt.ArrayLike) -> Array:
    try:
        return np.asarray(value)
    except ValueError:
        # Lists of several lengths.
        return np.asarray(None)


def _example(knob: Knob, keys: Array) -> Array:
    width = knob.most - knob.least
    levels = _LEVELS if knob.dtype == "float32" else int(min(width, 2**31 - 1)) + 1
    drawn = integers(keys, EXAMPLE_STREAM, knob.shape, levels)
    return (knob.least + drawn * (width / (levels - 1) if knob.dtype == "float32" else 1)).astype(knob.dtype)


def _as_input(knob: Knob, value: Array, keys: Array) -> Array:
    """From the served graph's form to the sampler's."""
    if knob.is_image:
        pixels = np.moveaxis(value, -1, 1).astype(np.float32)
        return np.ascontiguousarray(pixels / np.float32(127.5) - np.float32(1))
    if knob.drawn is not None:
        return np.where(value < 0, _drawn(knob.drawn, keys), value)
    return np.array(value, order="C")


def seed_array(seeds: Sequence[int]) -> npt.NDArray[np.int64]:
    """Seeds as the served graph takes them: int64 [N, 1].

    Raises:
        InputError: there are none, or one is no 64-bit integer.
    """
    try:
        numbers = [operator.index(seed) for seed in seeds]
    except TypeError as error:
        raise InputError(f"seeds {seeds!r:.60} are no list of integers ({error})") from None
    if not numbers:
        raise InputError("no seeds are given: give at least one, such as 0")
    for seed in numbers:
        if not -(2**63) <= seed < 2**64:
            raise InputError(f"seed {seed} is no 64-bit integer: give 0..{2**64 - 1}")
    words = np.array([seed % 2**64 for seed in numbers], np.uint64)
    return words.view(np.int64).reshape(-1, 1)


def parse_seeds(text: str) -> list[int]:
    """Seeds from "0-15", "3,7" or a mix of both.

    Raises:
        InputError: the text is no such list, or lists over a million seeds.
    """
    ranges = parse_ranges(text)
    if sum(part.stop - part.start for part in ranges) > MAX_SEEDS:
        raise InputError(f"seeds {_short(text)} are over {MAX_SEEDS:,}: sample them in several runs")
    return [seed for part in ranges for seed in part]


def parse_ranges(text: str) -> list[range]:
    """As `parse_seeds`, but however many there are.

    Raises:
        InputError: the text is no such list.
    """
    ranges: list[range] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,20})(?:\s*-\s*([0-9]{1,20}))?\s*", part)
        if not match:
            raise InputError(f"seeds {_short(text)} cannot be read: give a list such as 0-15 or 3,7,20-23")
        first, last = int(match[1]), int(match[2] or match[1])
        seed_array([first, last])
        if last < first:
            raise InputError(f"seeds {part.strip()} run backwards: give {last}-{first}")
        ranges.append(range(first, last + 1))
    return ranges


def seed_ranges(seeds: Sequence[int]) -> str:
    """Seeds as `parse_seeds` takes them, such as "3,7-9"."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1][1:] = [seed]
        else:
            runs.append([seed])
    return ",".join("-".join(map(str, run)) for run in runs)


def _listed(names: Sequence[str]) -> str:
    return f"only {', '.join(names)}" if names else "and no other"


def _told(value: npt.ArrayLike) -> str:
    text = " ".join((repr if isinstance(value, str) else str)(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}..."
