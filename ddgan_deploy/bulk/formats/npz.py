"""NumPy archives as the published evaluators of ADM read them (guided-diffusion, evaluations/evaluator.py).

`arr_0` is uint8 [N, H, W, C], and `arr_1` int64 [N] holds the classes where there are any. Nothing is compressed, and
both arrays are written as they come.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ddgan_deploy.bulk.formats.base import Batch, Writer

_CHUNK = 1 << 22
_SAME_TIME = (1980, 1, 1, 0, 0, 0)
"""Of all members, so that equal images are equal files."""


class Npz:
    """See the module."""

    name = "npz"
    is_folder = False

    def require(self, image: Sequence[int]) -> None:
        """Takes all images."""

    def shard_name(self, number: int) -> str:
        """As `Format.shard_name`."""
        return f"{number:06d}.npz"

    @contextlib.contextmanager
    def writer(self, path: Path, count: int, image: Sequence[int]) -> Iterator[Writer]:
        """As `Format.writer`."""
        with zipfile.ZipFile(path, "w") as archive:
            labels = _Labels(count)
            with _member(archive, "arr_0", (count, *image), np.uint8) as pixels:
                yield _Npz(pixels, labels)
            if labels.given:
                with _member(archive, "arr_1", (count,), np.int64) as file:
                    file.write(labels.values.tobytes())


def joined_name(count: int, image: Sequence[int]) -> str:
    """Of an archive with all images, as the published samplers of ADM name theirs."""
    return f"samples_{'x'.join(map(str, (count, *image)))}.npz"


def join(shards: Sequence[Path], count: int, image: Sequence[int], path: Path) -> None:
    """Writes the images of all shards into one archive.

    Args:
        shards: in order.
        count: of all images.
        image: (H, W, C) of each.
        path: of the archive.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, shape, kind in (("arr_0", (count, *image), np.uint8), ("arr_1", (count,), np.int64)):
            if not _has(shards[0], name):
                continue
            with _member(archive, name, shape, kind) as to:
                copied = sum(_copy(shard, name, to) for shard in shards)
            assert copied == math.prod(shape) * np.dtype(kind).itemsize


class _Labels:
    """The classes of a shard, as far as they are known."""

    def __init__(self, count: int) -> None:
        self.values = np.zeros(count, "<i8")
        self.given = False
        self._there = 0

    def add(self, batch: Batch) -> None:
        if "label" in batch.knobs:
            self.given = True
            self.values[self._there : self._there + len(batch.seeds)] = batch.knobs["label"]
        self._there += len(batch.seeds)


class _Npz:
    def __init__(self, pixels: IO[bytes], labels: _Labels) -> None:
        self._pixels, self._labels = pixels, labels

    def add(self, batch: Batch) -> None:
        self._pixels.write(np.ascontiguousarray(batch.images).data)
        self._labels.add(batch)


@contextlib.contextmanager
def _member(archive: zipfile.ZipFile, name: str, shape: Sequence[int], kind: type[np.generic]) -> Iterator[IO[bytes]]:
    """An array whose elements the block writes in C-order."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy", _SAME_TIME), "w", force_zip64=True) as file:
        header: dict[str, Any] = {"descr": np.dtype(kind).newbyteorder("<").str, "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, header | {"shape": tuple(map(int, shape))})
        yield file


def _has(shard: Path, name: str) -> bool:
    with zipfile.ZipFile(shard) as archive:
        return f"{name}.npy" in archive.namelist()


def _copy(shard: Path, name: str, to: IO[bytes]) -> int:
    """Copies an array's elements; returns their bytes."""
    copied = 0
    with zipfile.ZipFile(shard) as archive, archive.open(f"{name}.npy") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        while chunk := file.read(_CHUNK):
            copied += to.write(chunk)
    return copied
