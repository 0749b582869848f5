"""The folder of a run: its shards, what is written of them beside, and how a run that was cut off is gone on with.

FOLDER/bulk.json       what is drawn there; when all is there, also what there is
FOLDER/shards.jsonl    while it is drawn: a line a shard that is there, whole
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from ddgan_deploy.artifact.manifest import SERVED, WEIGHTS
from ddgan_deploy.artifact.records import DamagedRecord, OtherVersion, read_record, write_record
from ddgan_deploy.bulk.content import Content
from ddgan_deploy.bulk.shard import Written, size_of
from ddgan_deploy.errors import InputError
from ddgan_deploy.files import written_whole

if sys.platform != "win32":
    import fcntl

RECORD, LOG = "bulk.json", "shards.jsonl"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Drawing:
    """All that decides the bytes of the shards.

    Attributes:
        artifacts: SHA-256 of the files of each, by name.
        seeds, knobs: as they were given; of one value an image the SHA-256.
        format, shard_size, batch: as of `Plan`.
        engine: the runtime's name.
    """

    artifacts: tuple[Mapping[str, str], ...]
    seeds: str
    knobs: Mapping[str, str]
    format: str
    shard_size: int
    batch: int
    engine: str


@dataclass(frozen=True)
class Record:
    """The content of `RECORD`.

    Attributes:
        names: of the artifacts' folders.
        count: of all images.
        image: (H, W, C) of each.
        version: of ddgan-deploy here.
        complete: whether all is there.
        files: what there is then, in the order of the seeds.
    """

    format_version: int
    drawing: Drawing
    names: tuple[str, ...]
    precision: str
    count: int
    image: tuple[int, int, int]
    version: str
    complete: bool = False
    files: tuple[Written, ...] = ()


class RunFolder:
    """The folder of a run that is going on.

    Attributes:
        path: of it.
        record: of it.
        done: the shards that are there, by their numbers.
    """

    def __init__(self, path: Path, record: Record, done: Mapping[int, Written]) -> None:
        self.path, self.record, self.done = path, record, dict(done)

    def add(self, written: Written) -> None:
        """A shard is there."""
        with (self.path / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(dataclasses.asdict(written)) + "\n")
        self.done[written.number] = written

    def finish(self, files: tuple[Written, ...]) -> None:
        """All is there, and these are the files; shards that are none of them go."""
        self.record = dataclasses.replace(self.record, complete=True, files=files)
        _write(self.path, self.record)
        self.tidy()

    def tidy(self) -> None:
        """Takes away what a complete run does not need."""
        kept = {file.name for file in self.record.files}
        for shard in _logged(self.path):
            if shard.name not in kept:
                (self.path / shard.name).unlink(missing_ok=True)
        (self.path / LOG).unlink(missing_ok=True)


def record_of(content: Content, engine: str) -> Record:
    """What is to be drawn.

    Args:
        content: of the run.
        engine: the runtime's name.
    """
    plan, manifests = content.plan, [artifact.manifest for artifact in content.artifacts]
    files = tuple({name: each.files[name].sha256 for name in (SERVED, WEIGHTS)} for each in manifests)
    knobs = {name: _told(np.asarray(value)) for name, value in plan.knobs.items()}
    drawing = Drawing(files, plan.seeds, knobs, plan.format, plan.shard_size, plan.batch, engine)
    names = tuple(artifact.path.resolve().name for artifact in content.artifacts)
    precision = manifests[-1].precision
    return Record(
        FORMAT_VERSION, drawing, names, precision, len(content), content.image, metadata.version("ddgan-deploy")
    )


@contextlib.contextmanager
def run_folder(path: Path, record: Record, resume: bool, overwrite: bool) -> Iterator[RunFolder]:
    """The folder of a run, which nobody else works in for as long as the block lasts.

    Args:
        path: of it; it need not exist.
        record: what is to be drawn.
        resume: whether a run that was cut off is gone on with; where there is none, this is the first.
        overwrite: whether a run that is there goes.

    Raises:
        InputError: something else is there, a run that draws something else, or one that goes on now; or the folder
            cannot be written.
    """
    check_folder(path, resume, overwrite)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            if overwrite:
                _clear(path)
            found = _read(path)
            if found is None:
                _write(path, record)
                yield RunFolder(path, record, {})
                return
            _check_same(path, found.drawing, record.drawing)
            there = found.files if found.complete else _logged(path)
            folder = RunFolder(path, found, {shard.number: shard for shard in there})
            if found.complete:
                folder.tidy()
            yield folder
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}): choose another place") from None


def check_folder(path: Path, resume: bool, overwrite: bool) -> None:
    """Refuses a folder before any work.

    Raises:
        InputError: as `run_folder`.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"--out {path} is a file: give a folder")
    if not path.exists() or not any(path.iterdir()):
        return
    if not (path / RECORD).is_file():
        raise InputError(f"--out {path} holds other files, and no {RECORD} of ddgan-bulk: give another folder")
    if not resume and not overwrite:
        raise InputError(f"{path} exists already: give --resume to go on, --overwrite to draw anew, or another name")


def _told(value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
    if value.size == 1:
        return f"{value.item():g}"
    digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    return f"sha256:{digest} {value.dtype} {list(value.shape)}"


def _read(path: Path) -> Record | None:
    file = path / RECORD
    if not file.exists():
        return None
    try:
        return read_record(file.read_bytes(), Record, FORMAT_VERSION)
    except (DamagedRecord, OtherVersion) as error:
        raise InputError(f"{file} cannot be read ({error}): give --overwrite, or another folder") from None


def _write(path: Path, record: Record) -> None:
    content = write_record(record)
    with written_whole(path / RECORD) as file:
        file.write_bytes(content)


def _check_same(path: Path, before: Drawing, now: Drawing) -> None:
    for field in dataclasses.fields(Drawing):
        old, new = getattr(before, field.name), getattr(now, field.name)
        if old == new:
            continue
        what = "another artifact" if field.name == "artifacts" else f"{field.name} {_short(old)}, not {_short(new)}"
        raise InputError(f"{path} was begun with {what}: give the same as then, or another folder")


def _short(value: object) -> str:
    text = str(value) or "none"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _logged(path: Path) -> list[Written]:
    """The shards of the log that are there as it says; a line that was cut off is none."""
    try:
        lines = (path / LOG).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, OSError):
            shard = Written(**json.loads(line))
            if size_of(path / shard.name) == shard.bytes:
                found.append(shard)
    return found


def _clear(path: Path) -> None:
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Locks the folder; where there are no locks nobody is kept out."""
    if sys.platform == "win32":
        yield
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"another ddgan-bulk draws into {path} now: wait for it") from None
        yield
    finally:
        os.close(opened)
