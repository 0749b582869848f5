"""Every op's Triton-language launches."""

from .adagn import launches as adagn
from .launch import OpLaunches
from .philox_normal import launches as philox_normal
from .posterior_sample import launches as posterior_sample

ALL: tuple[OpLaunches, ...] = (
    adagn.LAUNCHES,
    posterior_sample.LAUNCHES,
    posterior_sample.SEEDED_LAUNCHES,
    philox_normal.LAUNCHES,
)
