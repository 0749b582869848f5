"""PNG files as the StyleGAN2 family's training reads them (stylegan2-ada-pytorch, dataset_tool.py).

A shard is a folder, such as 00003/, with an img00003000.png for each place in the run.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ddgan_deploy.bulk.formats.base import Batch, Writer, png, require_png
from ddgan_deploy.inputs import Array

LABELS = "dataset.json"


class Png:
    """See the module."""

    name = "png"
    is_folder = True

    def require(self, image: Sequence[int]) -> None:
        """As `Format.require`."""
        require_png(image)

    def shard_name(self, number: int) -> str:
        """As `Format.shard_name`."""
        return f"{number:05d}"

    @contextlib.contextmanager
    def writer(self, path: Path, count: int, image: Sequence[int]) -> Iterator[Writer]:
        """As `Format.writer`."""
        yield _Folder(path)


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, batch: Batch) -> None:
        for place, image in zip(batch.places, batch.images, strict=True):
            (self._path / image_name(place)).write_bytes(png(image))


def image_name(place: int) -> str:
    """Of an image's file."""
    return f"img{place:08d}.png"


def write_labels(path: Path, labels: Iterable[tuple[str, range, Array]]) -> None:
    """Writes the classes of all images as that family's training reads them, {"labels": [[file, class], ...]}.

    Args:
        path: of the file.
        labels: name of a shard, some of its places, and the class at each, int64 [n]; in order.
    """
    with path.open("w", encoding="ascii") as file:
        comma = ""
        file.write('{"labels": [')
        for shard, places, classes in labels:
            for place, label in zip(places, classes, strict=True):
                file.write(f"{comma}\n{json.dumps([f'{shard}/{image_name(place)}', int(label)])}")
                comma = ","
        file.write("\n]}\n")
