"""Tar files as the webdataset library reads them: of each sample a png, a json, and where there are classes a cls."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ddgan_deploy.bulk.formats.base import Batch, Writer, png, require_package, require_png


class WebDataset:
    """See the module."""

    name = "webdataset"
    is_folder = False

    def require(self, image: Sequence[int]) -> None:
        """As `Format.require`."""
        require_png(image)
        require_package(self.name, "webdataset", "its library")

    def shard_name(self, number: int) -> str:
        """As `Format.shard_name`."""
        return f"{number:06d}.tar"

    @contextlib.contextmanager
    def writer(self, path: Path, count: int, image: Sequence[int]) -> Iterator[Writer]:
        """As `Format.writer`."""
        from webdataset import TarWriter

        # Equal images are equal files, whoever draws them and when.
        with path.open("wb") as file:
            tar = TarWriter(file, encoder=False, user="ddgan", group="ddgan", mtime=0.0)
            with contextlib.closing(tar):
                yield _Tar(tar)


class _Tar:
    def __init__(self, tar: Any) -> None:
        self._tar = tar

    def add(self, batch: Batch) -> None:
        for k, place in enumerate(batch.places):
            told = {"seed": int(batch.seeds[k])} | {name: value[k].item() for name, value in batch.knobs.items()}
            sample = {"__key__": f"{place:09d}", "png": png(batch.images[k]), "json": json.dumps(told).encode("ascii")}
            if "label" in told:
                sample["cls"] = str(told["label"]).encode("ascii")
            self._tar.write(sample)
