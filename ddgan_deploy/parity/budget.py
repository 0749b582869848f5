"""How much a proof runs: as many images, or single steps, as their cost allows.

Two cores of a CPU compute some 150 to 250 GFLOP a second; so much takes minutes, not hours. Who wants more gives seeds
to `ddgan-verify`.
"""

from __future__ import annotations

from ddgan_deploy.artifact.manifest import Manifest
from ddgan_deploy.sampler import Probe

MOST_OF_AN_IMAGE = 30_000.0
"""GFLOP of one image; where it takes more no whole image is drawn for a proof."""
_IMAGES = 10_000.0
"""GFLOP of the images, or of the single steps, that gates look at; they are drawn some five times."""
_SEEDS, _LARGE_SEEDS, _STEPS = 4, 2, 8


def affordable(gflops: float, wanted: int, most: float = _IMAGES) -> int:
    """How many of the wanted there can be.

    Args:
        gflops: of one; 0: not known, and as many as are wanted.
        wanted: at most so many.
        most: GFLOP of all.
    """
    return min(wanted, int(most / gflops)) if gflops else wanted


def seeds_of(manifest: Manifest) -> range:
    """What is drawn for the gates unless told otherwise: fewer images where they are large, one at least."""
    wanted = _SEEDS if manifest.sampler.is_small else _LARGE_SEEDS
    return range(max(1, affordable(manifest.gflops, wanted)))


def takes_too_long(manifest: Manifest) -> bool:
    """Whether no whole image is drawn for a proof, unless somebody asks for it."""
    return manifest.looped and manifest.gflops > MOST_OF_AN_IMAGE


def steps_of(manifest: Manifest) -> list[int]:
    """Steps to look at alone, in running order: the first, and where there are several the last, and some between."""
    count = max(1, affordable(manifest.gflops / manifest.steps, min(_STEPS, manifest.steps)))
    last = manifest.steps - 1
    return sorted({round(i * last / max(count - 1, 1)) for i in range(count)})


def probes_of(manifest: Manifest, steps: list[int]) -> tuple[Probe, ...]:
    """What is looked at of these steps."""
    return tuple(probe for probe in manifest.probes if probe.step in steps)
