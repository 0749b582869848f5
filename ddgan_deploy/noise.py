"""From seeds to the noise of a sampling run."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddgan_deploy.errors import InputError
from ddgan_deploy.kernels.philox_normal.philox import normal

MAX_SEEDS = 1_000_000
X_T_STREAM = 0


def z_stream(step: int) -> int:
    """Stream of z at the k-th step in running order."""
    return 1 + 2 * step


def noise_stream(step: int) -> int:
    """Stream of the posterior's noise at the k-th step in running order."""
    return 2 + 2 * step


@dataclass(frozen=True)
class Noise:
    """All that is random in a sampling run, in running order (k = 0 goes with t = T-1).

    Attributes:
        x_T: float32 [N, C, H, W].
        z: float32 [N, T, nz].
        noise: float32 [N, T-1, C, H, W].
    """

    x_T: npt.NDArray[np.float32]
    z: npt.NDArray[np.float32]
    noise: npt.NDArray[np.float32]


def draw(seeds: Sequence[int], image_shape: tuple[int, int, int], nz: int, steps: int) -> Noise:
    """The noise of each seed.

    Args:
        seeds: N integers in -2**63..2**64-1; a negative one stands for its two's complement.
        image_shape: (C, H, W).
        nz: width of a latent.
        steps: T.
    """
    keys = seed_array(seeds)[:, 0]
    z = [normal(keys, z_stream(k), (nz,)) for k in range(steps)]
    noise = [normal(keys, noise_stream(k), image_shape) for k in range(steps - 1)]
    return Noise(
        x_T=normal(keys, X_T_STREAM, image_shape),
        z=np.stack(z, axis=1),
        noise=np.stack(noise, axis=1) if noise else np.empty((len(keys), 0, *image_shape), np.float32),
    )


def seed_array(seeds: Sequence[int]) -> npt.NDArray[np.int64]:
    """Seeds as the served graph takes them: int64 [N, 1].

    Raises:
        InputError: a seed that is no 64-bit integer.
    """
    if not len(seeds):
        raise InputError("no seeds are given: give at least one, such as 0")
    for seed in seeds:
        if not -(2**63) <= seed < 2**64:
            raise InputError(f"seed {seed} is no 64-bit integer: give 0..{2**64 - 1}")
    words = np.array([operator.index(seed) % 2**64 for seed in seeds], np.uint64)
    return words.view(np.int64).reshape(-1, 1)


def parse_seeds(text: str) -> list[int]:
    """Seeds from "0-15", "3,7" or a mix of both.

    Raises:
        InputError: the text is no such list, or lists over a million seeds.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,20})(?:\s*-\s*(\d{1,20}))?\s*", part)
        if not match:
            raise InputError(f"seeds {_short(text)} cannot be read: give a list such as 0-15 or 3,7,20-23")
        first, last = int(match[1]), int(match[2] or match[1])
        seed_array([first, last])
        if last < first:
            raise InputError(f"seeds {part.strip()} run backwards: give {last}-{first}")
        if len(seeds) + last - first >= MAX_SEEDS:
            raise InputError(f"seeds {_short(text)} are over {MAX_SEEDS:,}: sample them in several runs")
        seeds += range(first, last + 1)
    return seeds


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}..."
