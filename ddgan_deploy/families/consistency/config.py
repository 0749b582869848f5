"""The architecture of a consistency model's UNet, and how it is sampled from."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.adm.config import AdmConfig
from ddgan_deploy.names import short

TrainingMode = Literal["consistency_distillation", "consistency_training"]
_LEAST_SIGMA, _MOST_SIGMA = 1e-6, 1e6


@dataclass(frozen=True, kw_only=True)
class ConsistencyConfig(AdmConfig):
    """ADM's UNet without a variance, whose attention has q, k, v before the heads and 2-D convolutions."""

    use_new_attention_order: bool = True
    learn_sigma: bool = False

    @property
    def attention_kernel(self) -> tuple[int, ...]:
        """Extents of the convolutions of an attention, as files have them."""
        return 1, 1


@dataclass(frozen=True)
class ConsistencySampling:
    """How a consistency model is sampled from.

    Attributes:
        steps: T, how often the network runs.
        ts: of multistep sampling, indices of the levels that steps begin at, and that of the end; (): onestep.
        levels: how many the indices are among; 0 where there are none.
        training_mode: how it was trained, either of the two that make a consistency model.
        sigma_min, sigma_max: standard deviations of the noise at the last level and at the first.
        clip_denoised: whether x_0 is clamped to [-1, 1] at every step; at the last it is in any case.

    Raises:
        InputError: there are no such levels, or noise would stay in the image.
    """

    steps: int
    ts: tuple[int, ...] = ()
    levels: int = 0
    training_mode: TrainingMode = "consistency_distillation"
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    clip_denoised: bool = True

    @property
    def indices(self) -> str:
        """As the published script is told them."""
        return ",".join(map(str, self.ts))

    def __post_init__(self) -> None:
        if not _LEAST_SIGMA <= self.sigma_min < self.sigma_max <= _MOST_SIGMA:
            raise InputError(
                f"sigma_min {self.sigma_min:g} and sigma_max {self.sigma_max:g} are no two levels of noise: give "
                f"--config a smaller and a larger one in {_LEAST_SIGMA:g}..{_MOST_SIGMA:g}"
            )
        if self.ts:
            self._check_indices()

    def _check_indices(self) -> None:
        ts, text = self.ts, short(self.indices)
        rising = all(before < after for before, after in itertools.pairwise(ts))
        if len(ts) == 1 or ts[0] != 0 or not rising:
            raise InputError(
                f"ts {text} do not rise from 0 on, with a step from each to the next: give --config indices that do, "
                "such as 0,22,39"
            )
        if ts[-1] != self.levels - 1:
            raise InputError(
                f"ts {text} ends at {ts[-1]} and not at {self.levels - 1}, the last of {self.levels} levels (steps), "
                "where no noise is left: correct ts or steps in --config"
            )
