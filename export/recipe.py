"""What an artifact's graphs are made of, by an export or a refit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ddgan_deploy.artifact.results import KeptLayer
from ddgan_deploy.artifact.serving import DEFAULT_SERVING, Serving
from ddgan_deploy.export.loop_choice import LoopChoice
from ddgan_deploy.families.base import Checkpoint
from ddgan_deploy.sampler import Precision


@dataclass(frozen=True)
class Recipe:
    """What graphs are made of.

    Attributes:
        checkpoint: the model.
        sampling: how its family samples from it.
        precision: of the graphs.
        serving: how the model repository is to be.
        symmetric: whether int8's zero points are zero.
        kept: layers that stay in fp32 in any case, and of an int8 graph no others; None: those that measuring finds.
        without: names of rewrites to leave out.
        loop: whether the steps are one Loop; int8 has copies.
    """

    checkpoint: Checkpoint[Any, Any]
    sampling: Any
    precision: Precision
    serving: Serving = DEFAULT_SERVING
    symmetric: bool = False
    kept: Sequence[KeptLayer] | None = None
    without: Collection[str] = ()
    loop: LoopChoice = "auto"
