"""Knobs as controls of the page, and back: ranges, steps, what stands beside them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ddgan_deploy.errors import InputError
from ddgan_deploy.sampler import Knob

_WIDEST = 100.0
"""Between the ends of a slider for numbers that are not whole; beyond it a hand finds no value."""
_STEPS = 100
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class Control(NamedTuple):
    """A knob that is a number.

    Attributes:
        least, most: that can be chosen.
        step: from one value to the next.
        value: at first.
        is_slider: else a field for a number.
        info: what stands beside it.
    """

    least: float
    most: float
    step: float
    value: float | None
    is_slider: bool
    info: str


def control(knob: Knob) -> Control:
    """The control of a knob that is no picture.

    It has the knob's whole range, or, where that is too wide for a slider, the values that a report shows; a server
    tells none of these, and then it is a field.
    """
    least, most, whole = knob.least, knob.most, knob.dtype != "float32"
    wide = not whole and most - least > _WIDEST
    shown = [*knob.swept, *knob.tried]
    if wide and shown:
        values = shown if knob.default is None else [*shown, knob.default]
        least, most = min(values), max(values)
    words = [knob.help] if knob.help else []
    if whole and knob.default == -1 == knob.least:
        words.append("-1: drawn from the seed")
    is_slider = not wide or bool(shown)
    if not is_slider:
        words.append(f"{least:g} to {most:g}")
    elif (least, most) != (knob.least, knob.most):
        words.append(f"ddgan-sample takes {knob.least:g} to {knob.most:g}")
    step = 1 if whole else 10.0 ** math.floor(math.log10(max(most - least, 1e-6) / _STEPS))
    value = knob.default if knob.default is not None else least
    return Control(least, most, step, value, is_slider, "; ".join(words))


def picture_info(knob: Knob) -> str:
    """What stands beside the place for a picture."""
    height, width, _ = knob.shape
    return f"{knob.name}: {knob.help or 'a picture'}, {width}x{height}; another size is cut and scaled to that"


def as_picture(knob: Knob, path: str | None) -> npt.NDArray[np.uint8]:
    """A picture that was uploaded as the knob takes it, uint8 [1, h, w, C].

    Args:
        path: of its file; None where there is none.

    Raises:
        InputError: there is none, or it cannot be read as numbers of 8 bits.
    """
    height, width, channels = knob.shape
    if path is None:
        raise InputError(f"{knob.name} is empty: choose a picture, best one of {width}x{height} pixels")
    try:
        with Image.open(path) as file:
            depth, image = file.mode, ImageOps.exif_transpose(file).convert(_MODES[channels])
    except (OSError, ValueError, EOFError, SyntaxError, Image.DecompressionBombError):
        raise InputError(f"{knob.name}: {Path(path).name} is no picture that can be read: choose PNG or JPEG") from None
    if depth.startswith(("I", "F")):
        # Pillow takes all but the darkest of their values for white.
        raise InputError(f"{knob.name}: {Path(path).name} has more than 8 bits a value: choose a picture of 8")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(image, np.uint8).reshape(1, *knob.shape)
