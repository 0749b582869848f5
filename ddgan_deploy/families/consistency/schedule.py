"""The noise levels that a consistency model runs at, and what each step does, in float64.

Song et al. 2023: the boundary condition of section 3 and appendix C, and multistep sampling, algorithm 1; the levels
are those of Karras et al. 2022, equation 5. Tables are in running order.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from ddgan_deploy.families.consistency.config import ConsistencySampling

SIGMA_DATA = 0.5
"""Standard deviation of the data, a constant in the published code."""
RHO = 7.0
"""How levels crowd together at the end, a constant in the published code."""


@dataclass(frozen=True)
class Level:
    """One step.

    Attributes:
        sigma: standard deviation of the noise in what it starts from.
        sigma_min: at which the network's answer is what it is given.
        noise: factor of what is drawn after it; 0 at the last.
    """

    sigma: float
    sigma_min: float
    noise: float

    @property
    def time(self) -> float:
        """What the network is given."""
        return 250 * math.log(self.sigma)

    @property
    def c_in(self) -> float:
        """Of the state on its way into the network."""
        return 1 / math.hypot(self.sigma, SIGMA_DATA)

    @property
    def c_out(self) -> float:
        """Of the network's output in x_0."""
        return (self.sigma - self.sigma_min) * SIGMA_DATA * self.c_in

    @property
    def c_skip(self) -> float:
        """Of the state in x_0."""
        return SIGMA_DATA**2 / ((self.sigma - self.sigma_min) ** 2 + SIGMA_DATA**2)


@functools.lru_cache(maxsize=16)
def process(sampling: ConsistencySampling) -> tuple[Level, ...]:
    """All steps, in running order."""
    least, most = sampling.sigma_min, sampling.sigma_max
    if not sampling.ts:
        return (Level(most, least, 0.0),)
    sigmas = [_sigma(sampling, index) for index in sampling.ts[:-1]]
    # Rounding may put a level outside of them.
    noises = [math.sqrt(min(max(sigma, least), most) ** 2 - least**2) for sigma in sigmas[1:]]
    return tuple(Level(sigma, least, noise) for sigma, noise in zip(sigmas, [*noises, 0.0], strict=True))


def _sigma(sampling: ConsistencySampling, index: int) -> float:
    """Standard deviation of the noise at a level (Karras et al. 2022, equation 5)."""
    first, last = sampling.sigma_max ** (1 / RHO), sampling.sigma_min ** (1 / RHO)
    return math.pow(first + index / (sampling.levels - 1) * (last - first), RHO)
