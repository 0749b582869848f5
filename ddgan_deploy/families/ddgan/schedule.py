"""The diffusion process in the paper's notation.

Xiao, Kreis & Vahdat, "Tackling the generative learning trilemma with denoising
diffusion GANs" (ICLR 2022). t counts from 0: step t takes x_{t+1} of the paper
to x_t, and t = 0 is the last.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddgan_deploy.errors import InputError

if TYPE_CHECKING:
    pass

MIN_STEPS, MAX_STEPS = 1, 64
T_MIN = 0.001
"""Smallest continuous time, at which the schedule begins."""

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Schedule:
    """The noise schedule of a T-step process (section 4 and appendix A).

    Attributes:
        steps: T, 1..64.
        beta_min, beta_max: of the variance-preserving SDE, or of the geometric variance.
        use_geometric: geometric variance instead of variance preserving.

    Raises:
        InputError: steps or betas out of range.
    """

    steps: int
    beta_min: float = 0.1
    beta_max: float = 20.0
    use_geometric: bool = False

    def __post_init__(self) -> None:
        if not MIN_STEPS <= self.steps <= MAX_STEPS:
            raise InputError(f"steps {self.steps} is out of range: give {MIN_STEPS}..{MAX_STEPS}")
        if not 0 < self.beta_min <= self.beta_max:
            raise InputError(
                f"beta_min {self.beta_min} and beta_max {self.beta_max} are no schedule: give 0 < beta_min <= beta_max"
            )
        if self.use_geometric and self.beta_max >= 1:
            raise InputError(
                f"beta_max {self.beta_max} is no geometric variance: with use_geometric give a value below 1"
            )
        posterior = self.posterior
        if not all(np.isfinite(c).all() for c in (posterior.coef_x0, posterior.coef_xt, posterior.sigma)):
            raise InputError(
                f"beta_min {self.beta_min} and beta_max {self.beta_max} leave no posterior in float32: "
                "give others, such as 0.1 and 20"
            )

    @functools.cached_property
    def betas(self) -> Float32:
        """beta_t = 1 - abar_t / abar_{t-1} [T], computed in float64 and rounded once."""
        t = T_MIN + (1 - T_MIN) * np.arange(self.steps + 1, dtype=np.float64) / self.steps
        if self.use_geometric:
            alpha_bar = 1 - self.beta_min * (self.beta_max / self.beta_min) ** t
        else:
            log_mean = -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min
            alpha_bar = np.exp(2 * log_mean)
        with np.errstate(all="ignore"):
            return (1 - alpha_bar[1:] / alpha_bar[:-1]).astype(np.float32)

    @functools.cached_property
    def posterior(self) -> Posterior:
        """Coefficients of q(x_{t-1} | x_t, x_0), from the float32 betas (equation 4)."""
        one = np.float32(1)
        beta, alpha = self.betas, one - self.betas
        alpha_bar = np.cumprod(alpha, dtype=np.float64).astype(np.float32)
        alpha_bar_prev = np.concatenate([[one], alpha_bar[:-1]]).astype(np.float32)
        # A schedule without a posterior is refused by what comes out, not by warnings on the way.
        with np.errstate(all="ignore"):
            variance = beta * (one - alpha_bar_prev) / (one - alpha_bar)
            return Posterior(
                coef_x0=beta * np.sqrt(alpha_bar_prev) / (one - alpha_bar),
                coef_xt=(one - alpha_bar_prev) * np.sqrt(alpha) / (one - alpha_bar),
                sigma=np.exp(np.float32(0.5) * np.log(np.maximum(variance, np.float32(1e-20)))),
            )


@dataclass(frozen=True)
class Posterior:
    """Coefficients of the posterior by ascending t, float32 [T].

    x_{t-1} = coef_x0 * x_0 + coef_xt * x_t + sigma * noise; at t = 0 that is x_0
    itself, without noise.
    """

    coef_x0: Float32
    coef_xt: Float32
    sigma: Float32

    def at(self, t: int) -> tuple[float, float, float]:
        """(coef_x0, coef_xt, sigma) of one step."""
        return float(self.coef_x0[t]), float(self.coef_xt[t]), float(self.sigma[t])
