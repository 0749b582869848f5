"""What a StyleGAN2 is asked on a command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

TITLE = "a StyleGAN2 generator"
Noise = Literal["const", "random", "none"]


@dataclass(frozen=True)
class StyleGan2Flags:
    """See `families.registry.FLAGS`."""

    noise: Noise | None = field(
        default=None,
        metadata={
            "help": "of the layers: const, the snapshot's own, the same in every image; random, from the seed; none "
            "(default: const; of a FastGAN, which has no other, random)"
        },
    )
    truncation: float | None = field(
        default=None,
        metadata={
            "help": "default of the knob: how far latents go from their mean, 1 as they are (default: 1)",
            "metavar": "PSI",
        },
    )
    truncation_cutoff: int | None = field(
        default=None, metadata={"help": "layers that it holds for, from the first on (default: all)", "metavar": "N"}
    )
    trust_source: bool = field(
        default=False,
        metadata={
            "help": "go on where the source text in a snapshot differs from the published one, of which this is then "
            "not a faithful export",
            "reading": True,
        },
    )


FLAGS = StyleGan2Flags
