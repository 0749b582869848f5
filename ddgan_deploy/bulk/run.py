"""Draws the images of a plan into a folder, shard by shard."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.bulk.content import Content
from ddgan_deploy.bulk.folder import RunFolder, check_folder, run_folder
from ddgan_deploy.bulk.formats import npz, png
from ddgan_deploy.bulk.plan import Plan, Shard, Source
from ddgan_deploy.bulk.record import record_of
from ddgan_deploy.bulk.shard import Written, keep, write_shard, written
from ddgan_deploy.engines.cascade import cascade_of
from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.files import written_whole
from ddgan_deploy.progress import Progress, Report, no_progress


class Crew(Protocol):
    """Who draws the shards.

    Attributes:
        engine: the runtime's name.
    """

    engine: str

    def draw(self, shards: Sequence[Shard], folder: Path, tell: Callable[[int], None]) -> Iterator[Written]:
        """Draws shards into a folder, in any order, each whole or not at all.

        Args:
            shards: which.
            folder: of all.
            tell: told how many more images are drawn.
        """
        ...


Hire = Callable[[Content, Source], contextlib.AbstractContextManager[Crew]]


@dataclass(frozen=True)
class BulkOptions:
    """What to draw, who draws, and where it goes.

    Attributes:
        plan: what.
        source: who.
        out: the folder.
        resume: whether a run that was cut off there is gone on with.
        overwrite: whether a run that is there goes.
        keep_shards: whether shards of npz are left as they are, and not joined.
    """

    plan: Plan
    source: Source
    out: Path
    resume: bool = False
    overwrite: bool = False
    keep_shards: bool = False


@dataclass(frozen=True)
class BulkResult:
    """What came of a run.

    Attributes:
        files: what is there, in the order of the seeds.
        engine: the runtime's name.
        drawn: images of this run; others were there before.
        seconds: that drawing and writing those took.
    """

    files: tuple[Path, ...]
    engine: str
    drawn: int
    seconds: float


def bulk(options: BulkOptions, hire: Hire | None = None, progress: Progress = no_progress) -> BulkResult:
    """Draws what is not there yet.

    Args:
        options: what, who, where.
        hire: who draws for a source; None: this process.
        progress: told of the stops.

    Raises:
        InputError: an option does not fit, or the folder cannot be written. The shards that are there by then stay.
    """
    check_folder(options.out, options.resume, options.overwrite)
    content = Content(options.plan, [read_artifact(folder) for folder in options.source.folders])
    with contextlib.ExitStack() as open_things:
        with progress("Open the artifact"):
            crew = open_things.enter_context((hire or here)(content, options.source))
        record = record_of(content, crew.engine)
        with progress("Look what is there"):
            folder = open_things.enter_context(run_folder(options.out, record, options.resume, options.overwrite))
            _check_joined(folder, content, options.keep_shards)
        start = time.monotonic()
        left = _missing(folder, content.plan)
        count = sum(len(shard.places) for shard in left)
        with _kept(folder):
            if left:
                with progress(f"Draw {count} images on {crew.engine}") as report:
                    _draw(left, crew, folder, report)
            if not folder.record.complete:
                with progress("Finish"):
                    _finish(content, folder, options.keep_shards)
        files = tuple(options.out / file.name for file in folder.record.files)
        return BulkResult(files, crew.engine, count, time.monotonic() - start)


@contextlib.contextmanager
def here(content: Content, source: Source) -> Iterator[Crew]:
    """This process alone."""
    with cascade_of(content.artifacts, source.engine, source.threads) as cascade:

        class Here:
            engine = cascade.name

            def draw(self, shards: Sequence[Shard], folder: Path, tell: Callable[[int], None]) -> Iterator[Written]:
                for shard in shards:
                    yield write_shard(content, shard, cascade, folder, tell)

        yield Here()


def _check_joined(folder: RunFolder, content: Content, keep_shards: bool) -> None:
    """Of a complete run whose shards were joined they cannot be kept any more; those that were kept can be joined.

    Raises:
        InputError: the former.
    """
    if not folder.record.complete or content.format.name != "npz" or folder.record.is_joined() != keep_shards:
        return
    if keep_shards:
        raise InputError(f"the shards in {folder.path} are joined: leave out --keep-shards, or give --overwrite")
    folder.record = replace(folder.record, complete=False)


def _missing(folder: RunFolder, plan: Plan) -> list[Shard]:
    return [] if folder.record.complete else [shard for shard in plan.shards() if shard.number not in folder.done]


def _draw(shards: Sequence[Shard], crew: Crew, folder: RunFolder, report: Report) -> None:
    pace = _Pace(sum(len(shard.places) for shard in shards), report)
    for shard in crew.draw(shards, folder.path, pace.tell):
        folder.add(shard)


@contextlib.contextmanager
def _kept(folder: RunFolder) -> Iterator[None]:
    """Has what ends a run early tell what there is, and how to go on."""
    try:
        yield
    except (InputError, GateError, KeyboardInterrupt) as error:
        there = f"shards in {folder.path}: {len(folder.done)}, go on with --resume"
        raise type(error)(f"{str(error) or 'interrupted'}; {there}") from error


class _Pace:
    """Tells how far a run is, how fast, and how long it will take."""

    def __init__(self, wanted: int, report: Report) -> None:
        self._wanted, self._report = wanted, report
        self._drawn, self._start = 0, time.monotonic()

    def tell(self, count: int) -> None:
        self._drawn += count
        speed = self._drawn / max(time.monotonic() - self._start, 1e-9)
        left = (self._wanted - self._drawn) / speed
        told = f"{self._drawn} of {self._wanted} images, {speed:.3g} images/s, {_clock(left)} left"
        self._report(self._drawn / self._wanted, told)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _finish(content: Content, folder: RunFolder, keep_shards: bool) -> None:
    """Writes what is told of all shards together."""
    shards = tuple(folder.done[number] for number in sorted(folder.done))
    if content.format.is_folder and content.is_labelled:
        with written_whole(folder.path / png.LABELS) as path:
            png.write_labels(path, content.labels())
    if content.format.name == "npz" and not keep_shards:
        target = folder.path / npz.joined_name(len(content), content.image)
        with written_whole(target) as path:
            npz.join([folder.path / shard.name for shard in shards], len(content), content.image, path)
            keep(path)
        shards = (written(0, target, len(content)),)
    folder.finish(shards)
