"""What the page draws with: an opened artifact, or a server that serves one."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.serving import CPU_ENGINES, DEFAULT_MAX_BATCH
from ddgan_deploy.engines.arithmetic import name_and_type
from ddgan_deploy.engines.base import Engine
from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import Knobs, rows, served_knobs
from ddgan_deploy.names import quoted
from ddgan_deploy.sampler import Knob
from ddgan_deploy.serving import MODEL
from ddgan_deploy.serving.client import Client, ServerError
from ddgan_deploy.serving.client.way import Way

BATCH = 16
"""Images a run, as of ddgan-sample, so that no rounding differs."""
_QUICK_GFLOPS = 500.0
"""That an image may take; beyond it a CPU needs some seconds for one."""

_PATIENCE = 5.0
"""Seconds that a server has to tell which model it has."""


class Source(Protocol):
    """Whoever draws."""

    @property
    def title(self) -> str:
        """What the page is called."""
        ...

    @property
    def name(self) -> str:
        """What draws: an engine, or a model at an address."""
        ...

    @property
    def arguments(self) -> str:
        """What a shell's command line tells ddgan-sample to draw with it."""
        ...

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """What an image is drawn with, beside its seed."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of an image."""
        ...

    @property
    def is_quick(self) -> bool:
        """Whether images may be drawn before anyone asks for them, as far as that is known."""
        ...

    @property
    def engine(self) -> Engine | None:
        """What tells of single steps and draws between seeds; None where a server draws."""
        ...

    @property
    def http_url(self) -> str | None:
        """Of the server that a curl line asks; None where only its address of gRPC is known."""
        ...

    @property
    def serve(self) -> str:
        """A shell's command that starts the server; "" where it runs already."""
        ...

    @property
    def request_batch(self) -> int:
        """Seeds that a request to that server may have."""
        ...

    def generate(self, seeds: Sequence[int], knobs: Knobs) -> npt.NDArray[np.uint8]:
        """Images [N, H, W, C] of the seeds, in their order.

        Raises:
            InputError: as `engines.base.Engine.generate`.
            GateError: a server failed.
        """
        ...


@dataclass(frozen=True)
class ArtifactSource:
    """An artifact on this machine.

    Attributes:
        opened: its engine.
        threads: that it was told to take; None: all cores.
    """

    opened: Engine
    threads: int | None = None

    @property
    def folder(self) -> Path:
        """Of the artifact, from the root."""
        return self.opened.artifact.path.absolute()

    @property
    def title(self) -> str:
        return self.folder.name

    @property
    def name(self) -> str:
        return name_and_type(self.opened)

    @property
    def arguments(self) -> str:
        threads = "" if self.threads is None else f" --threads {self.threads}"
        return f"{quoted(self.folder)} --engine {self.opened.name}{threads}"

    @property
    def knobs(self) -> tuple[Knob, ...]:
        return self.opened.artifact.manifest.sampler.knobs

    @property
    def size(self) -> tuple[int, int]:
        _, height, width = self.opened.artifact.manifest.sampler.image
        return height, width

    @property
    def is_quick(self) -> bool:
        return self.opened.name not in CPU_ENGINES or self.opened.artifact.manifest.gflops <= _QUICK_GFLOPS

    @property
    def engine(self) -> Engine:
        return self.opened

    @property
    def http_url(self) -> str:
        return "http://127.0.0.1:8000"

    @property
    def serve(self) -> str:
        return f"ddgan-serve --repository {quoted(self._repository)}"

    @property
    def request_batch(self) -> int:
        with contextlib.suppress(OSError):
            config = (self._repository / MODEL / "config.pbtxt").read_text(encoding="utf-8")
            if found := re.search(r"^max_batch_size: (\d+)$", config, re.MULTILINE):
                return int(found[1])
        return DEFAULT_MAX_BATCH

    @property
    def _repository(self) -> Path:
        return self.folder / "model_repository"

    def generate(self, seeds: Sequence[int], knobs: Knobs) -> npt.NDArray[np.uint8]:
        values = served_knobs(self.knobs, len(seeds), knobs)
        starts = range(0, len(seeds), BATCH)
        batches = [slice(start, start + BATCH) for start in starts]
        return np.concatenate([self.opened.generate(seeds[batch], **rows(values, batch)) for batch in batches])


@dataclass(frozen=True)
class ServerSource:
    """A server.

    Attributes:
        client: that asks it, for `BATCH` seeds a request at most.
        way: how its model is asked.
    """

    client: Client
    way: Way

    @property
    def title(self) -> str:
        return str(self.client.address)

    @property
    def name(self) -> str:
        return f"{self.way.model} at {self.client.address}"

    @property
    def arguments(self) -> str:
        return f"--url {quoted(self.client.address)}"

    @property
    def knobs(self) -> tuple[Knob, ...]:
        return self.way.knobs

    @property
    def size(self) -> tuple[int, int]:
        height, width, _ = self.way.shape
        return height, width

    @property
    def is_quick(self) -> bool:
        return True

    @property
    def engine(self) -> None:
        return None

    @property
    def http_url(self) -> str | None:
        return str(self.client.address) if self.client.address.protocol == "http" else None

    @property
    def serve(self) -> str:
        return ""

    @property
    def request_batch(self) -> int:
        return self.way.batch

    def generate(self, seeds: Sequence[int], knobs: Knobs) -> npt.NDArray[np.uint8]:
        try:
            images = self.client.generate(seeds, **knobs)
        except ServerError:
            self._check_model()
            raise
        if images.shape[1:] != self.way.shape:
            raise self._changed()
        return images

    def _check_model(self) -> None:
        """Raises where the server now has another model than the page was made for; the client asks no second time."""
        way = self.way
        with contextlib.suppress(InputError, ServerError), Client(self.client.address, _PATIENCE, retries=0) as anew:
            way = anew.way()
        if way != self.way:
            raise self._changed()

    def _changed(self) -> ServerError:
        return ServerError(f"{self.name} is another model than this page was made for: end ddgan-play, start it again")


def server_source(client: Client) -> ServerSource:
    """A server, asked what it serves.

    Raises:
        InputError: nobody answers, it has no such model, or one that does not tell the size of its images.
    """
    try:
        way = client.way()
    except ServerError as error:
        # Of an address that never answered nobody knows whether it is right.
        raise InputError(str(error)) from None
    if len(way.shape) != 3 or min(way.shape) < 1:
        raise InputError(
            f"model {way.model} at {client.address} does not tell the size of its images: serve one of ddgan-export"
        )
    return ServerSource(client, way)


@dataclass(frozen=True)
class Drawing:
    """What was drawn last.

    Attributes:
        seeds: one for each image.
        knobs: that were given; a number, or a picture uint8 [1, h, w, C], for all images.
        images: uint8 [N, H, W, C].
        seconds: that it took, the way to a server and back included.
    """

    seeds: list[int]
    knobs: Knobs
    images: npt.NDArray[np.uint8]
    seconds: float

    def told(self, name: str) -> str:
        """By whom the images were drawn, and how fast."""
        count, ms = len(self.seeds), 1e3 * self.seconds
        images = "1 image" if count == 1 else f"{count} images"
        rate = f"{ms / count:.2f} ms an image, {count / self.seconds:.1f} images a second"
        return f"{images} by {name} in {ms:.1f} ms: {rate}"


def drawn(source: Source, seeds: list[int], knobs: Knobs) -> Drawing:
    """Draws images; errors as of `Source.generate`."""
    start = time.perf_counter()
    images = source.generate(seeds, knobs)
    return Drawing(seeds, knobs, images, time.perf_counter() - start)
