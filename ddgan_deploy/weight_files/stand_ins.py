"""What a pickle may name beside tensors, and what is built in its place: numbers, texts and lists.

The training arguments of a checkpoint may hold NumPy's numbers and paths. NumPy's own constructors can
unpickle objects, so none of them is called: PyTorch's reader is handed these functions under their names.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Literal

MAX_ITEMS = 4096
"""Of an array; no training argument has more, and a list takes several times the memory of an array."""
MAX_DIMENSIONS = 32
_NUMBERS_AND_TEXTS = re.compile(r"b1|[iu][1248]|f[248]|U\d{1,5}|S\d{1,5}")
_Global = Callable[..., Any] | tuple[Callable[..., Any], str]


class UnreadError(ValueError):
    """A value that is no number, text or list of them; the message is its type's name."""


class NumpyDtype:
    """A ``numpy.dtype`` as it is pickled: a code such as f8, and its byte order."""

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not _NUMBERS_AND_TEXTS.fullmatch(code):
            raise UnreadError(f"numpy.dtype({str(code)[:20]!r})")
        self.code = code
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise UnreadError("numpy.dtype")
        self.order = state[1]

    def read(self, content: object, shape: tuple[int, ...], order: Literal["C", "F"] = "C") -> Any:
        """Bytes -> a Python number or text, or nested lists of them."""
        import numpy as np

        if not isinstance(content, bytes):
            raise UnreadError("numpy.ndarray")
        items = np.frombuffer(content, np.dtype(self.order + self.code), math.prod(shape))
        return items.reshape(shape, order=order).tolist()


def is_small(shape: tuple[int, ...]) -> bool:
    """Whether an array has few items, also where it is empty: as a list, one of shape (1 << 40, 0) is long."""
    return len(shape) <= MAX_DIMENSIONS and math.prod(max(1, size) for size in shape) <= MAX_ITEMS


class NumpyArray(list[Any]):
    """A ``numpy.ndarray``; one of more than `MAX_ITEMS` stays empty, one of no axes waits for `without_boxes`."""

    def __init__(self, *_: object) -> None:
        super().__init__()
        self.is_boxed = False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, content = state
        if isinstance(dtype, NumpyDtype) and is_small(shape):
            self[:] = dtype.read(content, shape or (1,), "F" if is_fortran else "C")
            self.is_boxed = not shape


def without_boxes(content: object) -> object:
    """The content with the numbers and texts that arrays of no axes are; dicts, lists and namespaces change in place.

    What builds a `NumpyArray` learns only afterwards that it has no axes.
    """
    replaced: dict[int, tuple[object, object]] = {}
    inside: list[object] = []

    def replacement(value: object) -> object:
        if id(value) not in replaced:
            new = value
            if isinstance(value, NumpyArray):
                new = value[0] if value.is_boxed else value
            elif type(value) is tuple:
                new = tuple(map(replacement, value))
            elif isinstance(value, (dict, list, argparse.Namespace)):
                inside.append(value)
            else:
                return value
            # The value is kept, so that no other gets its id.
            replaced[id(value)] = (value, new)
        return replaced[id(value)][1]

    content = replacement(content)
    while inside:
        outer = inside.pop()
        if isinstance(outer, list):
            outer[:] = map(replacement, outer)
        else:
            items = outer if isinstance(outer, dict) else vars(outer)
            items.update({key: replacement(value) for key, value in items.items()})
    return content


def _scalar(dtype: NumpyDtype, content: object) -> Any:
    return dtype.read(content, ())


def _posix_path(*parts: str) -> str:
    return str(PurePosixPath(*parts))


def _windows_path(*parts: str) -> str:
    return str(PureWindowsPath(*parts))


def _no_bytes() -> bytes:
    return b""


def safe_globals() -> list[_Global]:
    """For `torch.serialization.safe_globals`: what is called for which name in a pickle."""
    found: list[_Global] = [
        argparse.Namespace,
        (_no_bytes, "builtins.bytes"),
        (NumpyDtype, "numpy.dtype"),
        (NumpyArray, "numpy.ndarray"),
    ]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        found += [(_scalar, f"{module}.scalar"), (NumpyArray, f"{module}._reconstruct")]
    for module in ("pathlib", "pathlib._local"):
        found += [(_posix_path, f"{module}.{name}") for name in ("Path", "PosixPath", "PurePath", "PurePosixPath")]
        found += [(_windows_path, f"{module}.{name}") for name in ("WindowsPath", "PureWindowsPath")]
    return found
