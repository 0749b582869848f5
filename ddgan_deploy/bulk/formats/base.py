"""What every format of a shard does."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ddgan_deploy import images as pictures
from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import Array


class Batch(NamedTuple):
    """Images, and what they were drawn with.

    Attributes:
        places: of the images in the run, from 0 on.
        seeds: uint64 [n].
        images: uint8 [n, H, W, C].
        knobs: the numbers among the knobs, by name: [n] each; a class that was drawn from the seed is the drawn one.
    """

    places: range
    seeds: npt.NDArray[np.uint64]
    images: npt.NDArray[np.uint8]
    knobs: Mapping[str, Array]


class Writer(Protocol):
    """A shard that is being written."""

    def add(self, batch: Batch) -> None:
        """The images that follow."""
        ...


class Format(Protocol):
    """How shards are written.

    Attributes:
        name: on the command line.
        is_folder: whether a shard is a folder of files.
    """

    name: str
    is_folder: bool

    def require(self, image: Sequence[int]) -> None:
        """Refuses what cannot be written here.

        Args:
            image: (H, W, C) of the images.

        Raises:
            InputError: a package is missing, or no image of that form can be held.
        """
        ...

    def shard_name(self, number: int) -> str:
        """Of a shard's file or folder."""
        ...

    def writer(self, path: Path, count: int, image: Sequence[int]) -> AbstractContextManager[Writer]:
        """Writes one shard.

        Args:
            path: a file, or an empty folder.
            count: images that will be added.
            image: (H, W, C) of each.
        """
        ...


def require_png(image: Sequence[int]) -> None:
    """Refuses images that are no PNG file's.

    Raises:
        InputError: of the number of channels.
    """
    if image[-1] not in pictures.CHANNELS:
        raise InputError(
            f"images with {image[-1]} channels are no PNG files, only 1 (grey), 3 (RGB) or 4 (RGBA): give --format npz"
        )


def png(image: npt.NDArray[np.uint8]) -> bytes:
    """An image [H, W, C] as the content of a PNG file."""
    return pictures.png(pictures.as_image(image), optimize=False)


def require_package(name: str, package: str, called: str) -> None:
    """Refuses a format whose package is not there.

    Args:
        name: of the format.
        package: as Python imports it.
        called: what the format needs, in words.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec(package) is None:
        raise InputError(f'--format {name} needs {called}: pip install "ddgan-deploy[bulk]"')
