"""The diffusion process: which steps are kept, and what each does, in float64.

Ho et al. 2020 (DDPM), Nichol & Dhariwal 2021 (cosine schedule, learned variance, respacing), Song et al. 2021 (DDIM).
Tables are in running order: row 0 is the step that begins with noise.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.adm.config import AdmSampling, NoiseSchedule
from ddgan_deploy.names import short

Float64 = npt.NDArray[np.float64]
LEAST_STEPS = 2
"""The published tables need a second one."""
_MOST_STEPS = 100_000


@dataclass(frozen=True)
class Kept:
    """One kept step.

    Attributes:
        timestep: as trained.
        time: what the networks are given.
        alpha_bar, alpha_bar_prev: ā of the step, and of the next one to run, which is 1 after the last.
        c1, c2: of x_0 and of x_t in the posterior's mean (Ho et al. 2020, equation 7).
        log_beta: of the upper end of a learned variance, β = 1 - ā/ā_prev.
        log_posterior: of its lower end, the posterior's variance; of the last step that of the one before.
    """

    timestep: int
    time: float
    alpha_bar: float
    alpha_bar_prev: float
    c1: float
    c2: float
    log_beta: float
    log_posterior: float

    @property
    def from_x(self) -> float:
        """sqrt(1/ā): by it x_t enters x_0 (Ho et al. 2020, equation 15)."""
        return math.sqrt(1 / self.alpha_bar)

    @property
    def from_eps(self) -> float:
        """sqrt(1/ā - 1): by it the noise leaves x_0, and an error in the noise enters it."""
        return math.sqrt(1 / self.alpha_bar - 1)

    @property
    def ddim_x0(self) -> float:
        """Of x_0 in DDIM's step (Song et al. 2021, equation 12), after its noise was put in terms of x_0 and x_t."""
        return math.sqrt(self.alpha_bar_prev) - self._ddim_eps / self.from_eps

    @property
    def ddim_x(self) -> float:
        """Of x_t in DDIM's step."""
        return self._ddim_eps / self.from_eps * self.from_x

    @property
    def ddim_push(self) -> float:
        """Of guidance times gradient in x_0 under DDIM (Dhariwal & Nichol 2021, equation 14)."""
        return (1 - self.alpha_bar) / math.sqrt(self.alpha_bar)

    @property
    def _ddim_eps(self) -> float:
        return math.sqrt(1 - self.alpha_bar_prev)

    def fixed_log_variance(self, small: bool) -> float:
        """Of a variance that is not learned: the posterior's, or β with the posterior's at the last step."""
        return self.log_posterior if small or self.alpha_bar_prev == 1 else self.log_beta


@functools.lru_cache(maxsize=16)
def process(sampling: AdmSampling) -> tuple[Kept, ...]:
    """The kept steps, in running order.

    Raises:
        InputError: there is no such process.
    """
    kept = kept_timesteps(sampling.diffusion_steps, sampling.timestep_respacing)
    if len(kept) < LEAST_STEPS:
        raise InputError(
            f"timestep_respacing {short(sampling.timestep_respacing)} keeps {len(kept)} step, and the published "
            f"process has no fewer than {LEAST_STEPS}: give more"
        )
    trained = _betas(sampling.noise_schedule, sampling.diffusion_steps)
    alphas = np.cumprod(1 - trained)[list(kept)]
    # As published: products of the kept ratios, so that the last bits are the same.
    betas = 1 - alphas / np.append(1.0, alphas[:-1])
    alphas = np.cumprod(1 - betas)
    prev = np.append(1.0, alphas[:-1])
    with np.errstate(all="ignore"):
        variance = betas * (1 - prev) / (1 - alphas)
        columns = (
            alphas,
            prev,
            betas * np.sqrt(prev) / (1 - alphas),
            (1 - prev) * np.sqrt(1 - betas) / (1 - alphas),
            np.log(betas),
            np.log(np.append(variance[1], variance[1:])),
        )
    if not np.isfinite(columns).all() or alphas.min() <= 0:
        raise InputError(_no_process(sampling.noise_schedule, sampling.diffusion_steps))
    # In float32, as published: of the embedding's waves at t = 999 its last bit is the fourth digit.
    scale = np.float32(1000 / sampling.diffusion_steps if sampling.rescale_timesteps else 1)
    rows = zip(kept, *(column.tolist() for column in columns), strict=True)
    return tuple(Kept(t, float(np.float32(t) * scale), *row) for t, *row in rows)[::-1]


def kept_timesteps(trained: int, text: str) -> tuple[int, ...]:
    """The steps that a respacing keeps, ascending.

    Args:
        trained: how many there are.
        text: counts for sections of equal length, such as "25" or "10,10,5"; "ddimN": every i-th from 0 on; "": all.

    Raises:
        InputError: the text is none of these, or there are not so many steps.
    """
    if not 0 < trained <= _MOST_STEPS:
        raise InputError(f"diffusion_steps {trained} is out of range: give {LEAST_STEPS}..{_MOST_STEPS}")
    if not text:
        return tuple(range(trained))
    if match := re.fullmatch("ddim([0-9]{1,6})", text):
        return _strided(trained, int(match[1]))
    if not re.fullmatch("[0-9]{1,6}( *, *[0-9]{1,6})*", text):
        raise InputError(f"timestep_respacing {short(text)} is unknown: give counts such as 25 or 10,10,5, or ddim25")
    counts = [int(count) for count in text.split(",")]
    if len(counts) > trained:
        raise InputError(f"timestep_respacing {short(text)} has {len(counts)} sections of {trained} steps: give fewer")
    size, longer = divmod(trained, len(counts))
    kept: list[int] = []
    start = 0
    for i, count in enumerate(counts):
        here = size + (i < longer)
        if not 0 < count <= here:
            raise InputError(
                f"timestep_respacing {short(text)} takes {count} steps of a section of {here}: give 1..{here}"
            )
        stride = (here - 1) / (count - 1) if count > 1 else 1.0
        # Added up rather than multiplied, and rounded half to even, as published: the last bits tell which step it is.
        place = 0.0
        for _ in range(count):
            kept.append(start + round(place))
            place += stride
        start += here
    return tuple(kept)


def _strided(trained: int, count: int) -> tuple[int, ...]:
    """Every i-th step from 0 on, by the least i that gives so many."""
    if count < LEAST_STEPS:
        raise InputError(f"ddim{count} keeps {count} of {trained} steps: give {LEAST_STEPS} or more")
    possible = {math.ceil(trained / stride): stride for stride in range(trained - 1, 0, -1)}
    if count not in possible:
        nearest = min(possible, key=lambda each: (abs(each - count), each), default=trained)
        raise InputError(
            f"no stride keeps {count} of {trained} steps for ddim{count}: give {nearest} steps, or a --config with "
            f'timestep_respacing "{count}"'
        )
    return tuple(range(0, trained, possible[count]))


def _betas(kind: NoiseSchedule, count: int) -> Float64:
    """Of the trained process, ascending."""
    if kind == "cosine":
        # Nichol & Dhariwal 2021, equation 17.
        edges = [math.cos((i / count + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(count + 1)]
        return np.array([min(1 - after / before, 0.999) for before, after in itertools.pairwise(edges)])
    # Ho et al. 2020, section 4, where there are 1000 steps.
    scale = 1000 / count
    betas = np.linspace(scale * 0.0001, scale * 0.02, count, dtype=np.float64)
    if betas[-1] >= 1:
        raise InputError(_no_process(kind, count))
    return betas


def _no_process(kind: str, count: int) -> str:
    return f"a {kind} schedule of {count} diffusion_steps is no process: correct --config, or give the trained number"
