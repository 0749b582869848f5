"""What weights are: words that cost nothing to import."""

from __future__ import annotations

from typing import Literal

Weights = Literal["ema", "raw"]
"""Of a training state: the exponential moving average, or the weights it averages."""
Kind = Literal["ema", "raw", "as stored"]
"""What an artifact's weights are: one of the two, or what a file holds that does not tell."""


def asked_again(kind: Kind) -> Weights:
    """Which weights of a training state follow those that an artifact has."""
    return "ema" if kind == "as stored" else kind
