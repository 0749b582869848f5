"""The folder of a run: who works in it, which shards are there, and how a run that was cut off is gone on with.

    FOLDER/bulk.json       what is drawn there; when all is there, also what there is
    FOLDER/shards.jsonl    while it is drawn: a line a shard that is there, whole

Nothing of what others have put there is touched, and no line is believed that its shard does not bear out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ddgan_deploy.bulk.record import RECORD, Record, check_same, is_whole, read, write
from ddgan_deploy.bulk.shard import Written
from ddgan_deploy.errors import InputError
from ddgan_deploy.scratch import remove_dead

if sys.platform != "win32":
    import fcntl

LOG = "shards.jsonl"


class RunFolder:
    """The folder of a run that is going on.

    Attributes:
        path: of it.
        record: of it.
        done: the shards that are there, by their numbers; of a complete run all of its files count.
    """

    def __init__(self, path: Path, record: Record, done: Mapping[int, Written]) -> None:
        self.path, self.record, self.done = path, record, dict(done)

    def add(self, written: Written) -> None:
        """A shard is there."""
        with (self.path / LOG).open("a", encoding="utf-8") as log:
            log.write(_line(written))
        self.done[written.number] = written

    def finish(self, files: tuple[Written, ...]) -> None:
        """All is there, and these are the files; shards that are none of them go."""
        self.record = dataclasses.replace(self.record, complete=True, files=files)
        write(self.path, self.record)
        self.tidy()

    def tidy(self) -> None:
        """Takes away what a complete run does not need."""
        if self.record.is_joined():
            for name in self.record.shards():
                (self.path / name).unlink(missing_ok=True)
        (self.path / LOG).unlink(missing_ok=True)


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
            found = read(path)
            if found and overwrite:
                _clear(path, found)
                found = None
            if found:
                check_same(path, found.drawing, record.drawing)
            else:
                write(path, record)
            yield _found(path, found) if found else RunFolder(path, record, {})
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}): choose another place") from None


def check_folder(path: Path, resume: bool, overwrite: bool) -> None:
    """Refuses a folder before any work.

    Raises:
        InputError: as `run_folder`.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"--out {path} is a file: give a folder")
    if not path.exists():
        return
    # Of a process that was killed before it wrote its record.
    remove_dead(path)
    if not any(path.iterdir()):
        return
    if read(path) is None:
        raise InputError(f"--out {path} holds other files, and no {RECORD} of ddgan-bulk: give another folder")
    if not resume and not overwrite:
        raise InputError(f"{path} exists already: give --resume to go on, --overwrite to draw anew, or another name")


def _found(path: Path, record: Record) -> RunFolder:
    """What a run before has left; what is missing or changed is drawn again."""
    told = record.files if record.complete else _logged(path, record)
    whole = []
    for written in told:
        if is_whole(path, written):
            whole.append(written)
        else:
            place = path / written.name
            logging.getLogger(__name__).warning("note: %s is missing or changed, it is drawn again", place)
    if record.complete and len(whole) == len(record.files):
        folder = RunFolder(path, record, {written.number: written for written in whole})
        folder.tidy()
        return folder
    record = dataclasses.replace(record, complete=False, files=())
    write(path, record)
    # A line that was cut off would take the next one with it.
    names = record.shards()
    shards = [written for written in whole if written.name in names]
    (path / LOG).write_text("".join(map(_line, shards)), encoding="utf-8")
    return RunFolder(path, record, {written.number: written for written in shards})


def _line(written: Written) -> str:
    return json.dumps(dataclasses.asdict(written)) + "\n"


def _logged(path: Path, record: Record) -> list[Written]:
    """What the lines of the log say that can be; others are of a run that was cut off, or of nobody."""
    from pydantic import TypeAdapter, ValidationError

    try:
        lines = (path / LOG).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    shards, kind, found = record.shards(), TypeAdapter(Written), {}
    for line in lines:
        with contextlib.suppress(ValidationError):
            written = kind.validate_json(line, strict=True)
            if shards.get(written.name) == (written.number, written.count):
                found[written.number] = written
    return [found[number] for number in sorted(found)]


def _clear(path: Path, record: Record) -> None:
    """Takes away what a run has left there; its record last, so that it is known until all else is gone."""
    for name in [*record.own_names(), LOG, RECORD]:
        target = path / name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


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
