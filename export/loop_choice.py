"""Whether the steps of a sampler are one Loop, as an export is asked for it."""

from __future__ import annotations

from typing import Literal

LoopChoice = Literal["auto", "always", "never"]
"""auto: where copies would make more nodes than `graph.steps.MOST_NODES`."""
