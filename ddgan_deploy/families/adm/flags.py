"""What an ADM is asked on a command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

TITLE = "an ADM's UNet"
SamplerName = Literal["ddpm", "ddim"]


@dataclass(frozen=True)
class AdmFlags:
    """See `families.registry.FLAGS`."""

    sampler: SamplerName | None = field(
        default=None,
        metadata={
            "help": "ddpm draws noise at every step, ddim none after the first (default: as use_ddim of --config says, "
            "else ddpm)"
        },
    )
    classifier: Path | None = field(
        default=None,
        metadata={
            "help": "a noise-aware classifier, whose gradient becomes part of the graph",
            "metavar": "FILE",
            "reading": True,
        },
    )
    guidance: float | None = field(
        default=None,
        metadata={
            "help": "default of the knob: by what the classifier's gradient is multiplied (default: as "
            "classifier_scale of --config says, else 1)",
            "metavar": "S",
        },
    )


FLAGS = AdmFlags
