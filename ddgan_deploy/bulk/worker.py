"""One process of a cluster that draws shards. It gets the artifacts' files with its orders, and needs no other."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.bulk.content import Content
from ddgan_deploy.bulk.plan import Plan, Shard
from ddgan_deploy.bulk.shard import Written, write_shard
from ddgan_deploy.engines.cascade import cascade_of
from ddgan_deploy.inputs import Array
from ddgan_deploy.scratch import scratch_folder

Files = Mapping[str, Array]
"""Name -> content, uint8 [bytes]."""


class Worker:
    """Draws what it is told to.

    Args:
        plan: of the run.
        engine, threads: as of `ddgan_deploy.engines.open_artifact`.
        out: the folder of all shards, where every machine has it; None: shards go back to who asked.
    """

    def __init__(self, plan: Plan, engine: str, threads: int | None, out: Path | None) -> None:
        self._plan, self._engine, self._threads, self._out = plan, engine, threads, out
        self._open = contextlib.ExitStack()

    def open(self, artifacts: Sequence[Mapping[str, Any]]) -> str:
        """Opens the artifacts on this machine; returns the runtime's name.

        Args:
            artifacts: file -> content in the cluster's store, of each.

        Raises:
            InputError: one cannot run here.
        """
        import ray

        folder = self._open.enter_context(scratch_folder("ddgan-worker-"))
        for k, files in enumerate(artifacts):
            names = list(files)
            write_files(folder / str(k), dict(zip(names, ray.get([files[name] for name in names]), strict=True)))
        opened = [read_artifact(folder / str(k)) for k in range(len(artifacts))]
        self._content = Content(self._plan, opened)
        self._cascade = self._open.enter_context(cascade_of(opened, self._engine, self._threads))
        return self._cascade.name

    def draw(self, shard: Shard) -> tuple[Written, Files]:
        """Draws a shard; its files are returned, or written where they belong.

        Raises:
            InputError: it cannot be written.
        """
        if self._out is not None:
            return write_shard(self._content, shard, self._cascade, self._out), {}
        with scratch_folder("ddgan-shard-") as folder:
            written = write_shard(self._content, shard, self._cascade, folder)
            return written, read_files(folder / written.name)

    def close(self) -> None:
        """Frees the engine, and takes the files away."""
        self._open.close()


def read_files(path: Path) -> Files:
    """A file, or all in a folder."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name: np.fromfile(file, np.uint8) for file in files}


def write_files(folder: Path, files: Files) -> None:
    """Writes files into a folder; a name may lead through folders in it.

    Raises:
        OSError: one cannot be written.
    """
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.data)
