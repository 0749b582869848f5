"""What is written beside the shards of a run: what they are, and which of them are there."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from ddgan_deploy.artifact.manifest import SERVED, WEIGHTS
from ddgan_deploy.artifact.records import DamagedRecord, OtherVersion, read_record, write_record
from ddgan_deploy.bulk.content import Content
from ddgan_deploy.bulk.formats import FORMATS, npz, png
from ddgan_deploy.bulk.plan import Plan
from ddgan_deploy.bulk.shard import Written, digest, size_of
from ddgan_deploy.errors import InputError
from ddgan_deploy.files import written_whole
from ddgan_deploy.inputs import Array

RECORD = "bulk.json"
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

    def shards(self) -> dict[str, tuple[int, int]]:
        """Of every shard that there may be its number and its images, by its name.

        Raises:
            InputError: the record was changed by somebody.
        """
        plan = Plan(self.drawing.seeds, {}, self.drawing.format, self.drawing.shard_size)  # type: ignore[arg-type]
        name = FORMATS[plan.format].shard_name
        return {name(shard.number): (shard.number, len(shard.places)) for shard in plan.shards()}

    @property
    def joined_name(self) -> str:
        """Of the file that all shards of npz become."""
        return npz.joined_name(self.count, self.image)

    def own_names(self) -> set[str]:
        """All files and folders that such a run may leave, but `RECORD`.

        Raises:
            InputError: as `shards`.
        """
        beside = {"npz": {self.joined_name}, "png": {png.LABELS}}
        return {*self.shards(), *beside.get(self.drawing.format, ())}

    def is_joined(self) -> bool:
        """Whether the shards have become one file."""
        return [file.name for file in self.files] == [self.joined_name]


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
    precision, version = manifests[-1].precision, metadata.version("ddgan-deploy")
    return Record(FORMAT_VERSION, drawing, names, precision, len(content), content.image, version)


def read(folder: Path) -> Record | None:
    """The record in a folder; None where there is none.

    Raises:
        InputError: it is none of ours, or damaged.
    """
    try:
        content = (folder / RECORD).read_bytes()
    except FileNotFoundError:
        return None
    try:
        record = read_record(content, Record, FORMAT_VERSION)
        record.shards()
    except (DamagedRecord, OtherVersion, InputError) as error:
        raise InputError(f"{folder / RECORD} is no record of ddgan-bulk ({error}): give another folder") from None
    return record


def write(folder: Path, record: Record) -> None:
    """Writes the record of a folder, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    content = write_record(record)
    with written_whole(folder / RECORD) as file:
        file.write_bytes(content)


def check_same(folder: Path, before: Drawing, now: Drawing) -> None:
    """Refuses to go on with something else.

    Raises:
        InputError: names what differs.
    """
    for field in dataclasses.fields(Drawing):
        old, new = getattr(before, field.name), getattr(now, field.name)
        if old == new:
            continue
        what = "another artifact" if field.name == "artifacts" else f"{field.name} {_short(old)}, not {_short(new)}"
        raise InputError(f"{folder} was begun with {what}: give the same as then, or another folder")


def is_whole(folder: Path, written: Written) -> bool:
    """Whether a file or folder is there as it was written."""
    target = folder / written.name
    try:
        return size_of(target) == written.bytes and digest(target) == written.sha256
    except OSError:
        return False


def _told(value: Array) -> str:
    if value.size == 1:
        return repr(value.item())
    content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    return f"sha256:{content} {value.dtype} {list(value.shape)}"


def _short(value: object) -> str:
    text = str(value) or "none"
    return text if len(text) <= 60 else f"{text[:57]}..."
