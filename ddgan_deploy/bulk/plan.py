"""What a run draws, and into which shards: all that decides their bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy.typing as npt

from ddgan_deploy.bulk.seeds import Seeds
from ddgan_deploy.errors import InputError

FormatName = Literal["npz", "webdataset", "parquet", "png"]
MAX_SHARDS = 10**6


class Shard(NamedTuple):
    """Images that are written together.

    Attributes:
        number: from 0 on.
        places: of its images among all of the run, in steps of one.
    """

    number: int
    places: range


@dataclass(frozen=True)
class Plan:
    """The images of a run.

    Attributes:
        seeds: as ``--seeds`` takes them.
        knobs: where others than the defaults are wanted: one value for all images, or one for each.
        format: of the shards.
        shard_size: images in a shard, 1 or more; the last may have fewer.
        batch: images in a run of the engine, 1 or more.

    Raises:
        InputError: a number is out of range, or the seeds cannot be read.
    """

    seeds: str
    knobs: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    format: FormatName = "npz"
    shard_size: int = 1000
    batch: int = 16

    def __post_init__(self) -> None:
        if self.format not in get_args(FormatName):
            raise InputError(f"format {self.format!r} is unknown: choose {', '.join(get_args(FormatName))}")
        for name in ("shard_size", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be 1 or more")
        shards = math.ceil(len(Seeds(self.seeds)) / self.shard_size)
        if shards > MAX_SHARDS:
            raise InputError(f"these are {shards:,} shards, over {MAX_SHARDS:,}: give a larger --shard-size")

    def shards(self) -> list[Shard]:
        """All of them, in order."""
        count = len(Seeds(self.seeds))
        starts = range(0, count, self.shard_size)
        return [Shard(k, range(start, min(start + self.shard_size, count))) for k, start in enumerate(starts)]

    def batches(self, shard: Shard) -> list[range]:
        """The places of a shard's images, run by run of the engine."""
        starts = range(shard.places.start, shard.places.stop, self.batch)
        return [range(start, min(start + self.batch, shard.places.stop)) for start in starts]


@dataclass(frozen=True)
class Source:
    """Who draws.

    Attributes:
        folders: of artifacts, of which each enlarges what the one before it draws.
        engine, threads: as of `ddgan_deploy.engines.open_artifact`.
    """

    folders: tuple[Path, ...]
    engine: str = "auto"
    threads: int | None = None
