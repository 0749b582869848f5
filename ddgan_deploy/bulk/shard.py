"""Draws one shard and writes it: the work of this process, or of one among many machines."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddgan_deploy.bulk.content import Content
from ddgan_deploy.bulk.formats.base import Batch
from ddgan_deploy.bulk.plan import Shard
from ddgan_deploy.engines.cascade import Cascade
from ddgan_deploy.files import folder_written_whole, sha256, written_whole


@dataclass(frozen=True)
class Written:
    """A part of a run's output that is there, whole.

    Attributes:
        number: of the shard; of all shards joined 0.
        name: of its file or folder.
        count: of its images.
        bytes: of its file, or of all in its folder.
        sha256: as of `digest`.
    """

    number: int
    name: str
    count: int
    bytes: int
    sha256: str


def untold(count: int) -> None:
    """Of progress that nobody sees."""


def write_shard(
    content: Content, shard: Shard, cascade: Cascade, folder: Path, tell: Callable[[int], None] = untold
) -> Written:
    """Draws a shard into a folder, where it appears whole or not at all.

    Args:
        content: of the run.
        shard: which of it.
        cascade: who draws.
        folder: of all shards.
        tell: told how many more images are drawn, after each run of the engine.

    Raises:
        InputError: it cannot be written.
    """
    target = folder / content.format.shard_name(shard.number)
    whole = folder_written_whole if content.format.is_folder else written_whole
    with whole(target) as path:
        _write(content, shard, cascade, path, tell)
        keep(path)
    return written(shard.number, target, len(shard.places))


def written(number: int, target: Path, count: int) -> Written:
    """What a file or folder is told as."""
    return Written(number, target.name, count, size_of(target), digest(target))


def digest(target: Path) -> str:
    """SHA-256 of a file; of a folder that of its files' names and SHA-256 in their order.

    Raises:
        OSError: it is not there.
    """
    if not target.is_dir():
        return sha256(target)
    lines = [f"{sha256(file)}  {file.name}\n" for file in sorted(target.iterdir())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def size_of(target: Path) -> int:
    """Bytes of a file, or of all files in a folder.

    Raises:
        OSError: it is not there.
    """
    if target.is_dir():
        return sum(file.stat().st_size for file in target.iterdir())
    return target.stat().st_size


def keep(path: Path) -> None:
    """Has the disk hold what was written before it gets its name, so that no loss of power leaves an empty one."""
    if path.is_dir():
        # File by file a thousand of them take seconds.
        os.sync()
        return
    with path.open("rb") as opened:
        os.fsync(opened.fileno())


def _write(content: Content, shard: Shard, cascade: Cascade, path: Path, tell: Callable[[int], None]) -> None:
    """While one batch is written the next one is drawn."""
    with (
        content.format.writer(path, len(shard.places), content.image) as writer,
        ThreadPoolExecutor(1, "ddgan-bulk") as beside,
    ):
        before: Future[None] | None = None
        for places in content.plan.batches(shard):
            batch = _draw(content, places, cascade)
            if before:
                before.result()
            before = beside.submit(writer.add, batch)
            tell(len(places))
        if before:
            before.result()


def _draw(content: Content, places: range, cascade: Cascade) -> Batch:
    seeds, knobs = content.asked(places)
    images = cascade.generate(seeds, **knobs)
    return Batch(places, np.array(seeds, np.uint64), images, content.told(seeds, knobs))
