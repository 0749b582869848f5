"""Knobs on a command line: what an image is drawn with, beside its seed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.errors import InputError
from ddgan_deploy.knob_flags import FLAGS, option_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt

    from ddgan_deploy.sampler import Knob

_ARRAYS = ("images", "arr_0")
"""Pictures, as `ddgan-sample --npz` and the published samplers call them."""
_LABELS = ("labels", "arr_1")
"""Classes, as the published samplers call them, among others."""
_NUMBERS = (".npy", ".txt")
"""Files of numbers alone."""


def add_knob_arguments(parser: argparse.ArgumentParser, several: str) -> None:
    """A flag for each of the usual knobs, and --set for any.

    Args:
        parser: gets them.
        several: what becomes of several values, such as "one for each seed".
    """
    group = parser.add_argument_group(
        "knobs",
        f"Of artifacts that have them; where one is left out its default serves. With commas: {several} "
        "(--label=-1,2 where the first is negative).",
    )
    for name, (metavar, text) in FLAGS.items():
        group.add_argument(option_of(name), metavar=metavar, help=text)
    group.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any other, by its name")


def asked_for(knobs: Iterable[Knob]) -> str:
    """What a command line must have for the knobs that have no default, with a blank before each; or nothing."""
    flags = {name: f" {option_of(name)} {metavar}" for name, (metavar, _) in FLAGS.items()}
    return "".join(flags.get(knob.name, f" --set {knob.name}=VALUE") for knob in knobs if knob.default is None)


def given_knobs(args: argparse.Namespace) -> dict[str, npt.ArrayLike]:
    """What the command line says of knobs, by name: a number, numbers, or an array out of a file.

    Raises:
        InputError: one is said twice, or cannot be read.
    """
    told = [(name, text) for name in FLAGS if (text := getattr(args, name)) is not None]
    for item in args.set:
        name, equals, text = item.partition("=")
        if not equals or not name:
            raise InputError(f"--set {item!r} is no knob with its value: give NAME=VALUE")
        told.append((name, text))
    names = [name for name, _ in told]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name} is given twice: give it once, with commas where there are several values")
    return {name: _value(name, text) for name, text in told}


def _value(name: str, text: str) -> npt.ArrayLike:
    suffix = Path(text).suffix.lower()
    if suffix == ".npz":
        return _for_images(_array(name, Path(text)))
    if suffix in _NUMBERS:
        return _for_images(_numbers(name, Path(text)))
    try:
        values = [int(part) if part.strip().lstrip("+-").isdecimal() else float(part) for part in text.split(",")]
    except ValueError:
        if Path(text).is_file():
            raise InputError(f"{text} is no NumPy archive: give a file .npz with an array {name}") from None
        raise InputError(
            f"{name} {text!r} is no number: give one such as 3, several such as 1,2,3, or a file .npz"
        ) from None
    return values if len(values) > 1 else values[0]


def _for_images(value: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """A value for each image, or one that all share: a picture [h, w, C] alone would be taken for h values."""
    return value[None] if value.ndim == 3 else value


def _numbers(name: str, path: Path) -> npt.NDArray[np.generic]:
    import numpy as np

    try:
        if path.suffix.lower() == ".npy":
            value = np.load(path, allow_pickle=False)
        else:
            value = np.array(path.read_text(encoding="utf-8").split(), np.float64)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): give another file of {name}") from None
    except (ValueError, EOFError):
        raise InputError(f"{path} holds no numbers: give a file {path.suffix.lower()} of {name}") from None
    if not value.size:
        raise InputError(f"{path} holds nothing: give a number of {name} for each image")
    numbers: npt.NDArray[np.generic] = value
    return numbers


def _array(name: str, path: Path) -> npt.NDArray[np.generic]:
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as arrays:
            others = _LABELS if name == "label" else _ARRAYS
            found = next((each for each in (name, *others) if each in arrays), None)
            if found is None:
                there = ", ".join(sorted(arrays)) or "none"
                raise InputError(f"{path} holds no array {name}, {' or '.join(others)}, but {there}")
            value = arrays[found]
            beside = [each for each in _ARRAYS if each in arrays and found == name]
            if beside and value.ndim > 2:
                # Such as an upsampler's: what it was given, and what it drew.
                raise InputError(f"{path} holds pictures in {name} and in {beside[0]}: give a file with one of them")
            if not value.size:
                raise InputError(f"{path} holds nothing in its array {found}: give a picture for each image, or one")
            told: npt.NDArray[np.generic] = value
            return told
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): give another file of {name}") from None
    except (ValueError, TypeError, KeyError, EOFError, AttributeError, zipfile.BadZipFile):
        raise InputError(f"{path} is no NumPy archive of numbers: give a file .npz of {name}") from None
