"""What a FastGAN generator alone is asked on a command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

TITLE = "a FastGAN generator"


@dataclass(frozen=True)
class FastganFlags:
    """See `families.registry.FLAGS`.

    Attributes:
        noise: what is added in every layer; for FastGAN it is random and nothing else.
    """

    noise: Literal["const", "random", "none"] | None = field(
        default=None, metadata={"help": "of the layers: random, and no other"}
    )


FLAGS = FastganFlags
