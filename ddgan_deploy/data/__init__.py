"""The demo's package data: a small trained DDGAN, the network that judges it, and the real digits."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parent
DIGITS_STEPS = 4
"""T of the bundled generator."""
DIGITS_SIZE = 16
"""Pixels along a side of a digit."""


class Digits(NamedTuple):
    """Handwritten digits.

    Attributes:
        images: uint8 [N, 16, 16, 1], in the form the served graph returns.
        labels: int64 [N], 0..9.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def digits_checkpoint() -> Path:
    """The trained generator of ``examples/digits``, in the form ``netG_<epoch>.pth``."""
    return FOLDER / "digits.pth"


def digits_config() -> Path:
    """The training arguments of that generator, as ``--config`` takes them."""
    return FOLDER / "digits_args.json"


def digits_classifier() -> Path:
    """Weights of `ddgan_deploy.quality.Classifier`."""
    return FOLDER / "digits_classifier.safetensors"


def real_digits() -> Digits:
    """The 1,797 digits that scikit-learn ships, 8x8, resized to 16x16 (bicubic).

    Source: E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits",
    UCI Machine Learning Repository, 1998 (its test set).
    """
    import torch
    import torch.nn.functional as F
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.from_numpy(bunch.images)[:, None] / 16
    large = F.interpolate(small, size=(DIGITS_SIZE, DIGITS_SIZE), mode="bicubic").clamp(0, 1)
    pixels = (large * 255 + 0.5).floor().to(torch.uint8)
    return Digits(pixels.permute(0, 2, 3, 1).contiguous().numpy(), bunch.target.astype(np.int64))


def split_digits() -> tuple[Digits, Digits]:
    """The real digits as (train, test), three quarters and one quarter, stratified by class."""
    from sklearn.model_selection import train_test_split

    images, labels = real_digits()
    parts = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    return Digits(parts[0], parts[2]), Digits(parts[1], parts[3])
