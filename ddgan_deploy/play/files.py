"""The files of what is on the screen, made when they are asked for."""

from __future__ import annotations

import io
import secrets
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ddgan_deploy.images import grid, png
from ddgan_deploy.play.source import Drawing

Files = Mapping[str, Callable[[], bytes]]
"""Name -> what makes the content."""
_MOST = 16
"""Drawings whose files are kept; pages that are open side by side share them."""


class Shelf:
    """Files of the last drawings; several threads may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, Files] = {}

    def put(self, files: Files) -> str:
        """Keeps files; returns the name of their folder, which nobody can guess."""
        folder = secrets.token_urlsafe(12)
        with self._lock:
            self._kept[folder] = files
            for old in list(self._kept)[:-_MOST]:
                del self._kept[old]
        return folder

    def content(self, folder: str, name: str) -> bytes | None:
        """Of a file; None where it is not there, or not any more."""
        with self._lock:
            make = self._kept.get(folder, {}).get(name)
        return None if make is None else make()


def files_of(drawing: Drawing, bodies: Mapping[str, str]) -> dict[str, Callable[[], bytes]]:
    """The grid and the arrays, as ddgan-sample writes them, and what a command or a curl line reads.

    Args:
        drawing: what is on the screen.
        bodies: of requests, by the names of their files, where these are too long for a line.
    """
    pictures = {name: np.asarray(value) for name, value in drawing.knobs.items() if np.ndim(value)}
    return {
        "grid.png": lambda: png(grid(drawing.images)),
        "images.npz": lambda: _arrays(drawing),
        **{f"{name}.npz": partial(_archive, **{name: value}) for name, value in pictures.items()},
        **{name: partial(str.encode, body) for name, body in bodies.items()},
    }


def _arrays(drawing: Drawing) -> bytes:
    numbers = {name: np.full(len(drawing.seeds), value) for name, value in drawing.knobs.items() if not np.ndim(value)}
    return _archive(images=drawing.images, seeds=np.array(drawing.seeds, np.uint64), **numbers)


def _archive(**arrays: npt.NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()
