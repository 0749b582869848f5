"""What every engine does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact import Artifact
from ddgan_deploy.noise import Noise


class Engine(Protocol):
    """An opened artifact on one runtime.

    Attributes:
        name: the runtime, as in ``ddgan-bench`` tables.
        artifact: what it runs.
    """

    name: str
    artifact: Artifact

    def sample(self, noise: Noise) -> npt.NDArray[np.float32]:
        """x_0 [N, C, H, W] from given noise."""
        ...

    def generate(self, seeds: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Images [N, H, W, C] of the seeds, in their order."""
        ...
