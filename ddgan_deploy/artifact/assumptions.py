"""What neither a checkpoint nor a config tells about a model, and is assumed.

A guess is no fault of the graph's: the reference guesses alike, so no gate can see it. It is listed wherever an
export is shown.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Assumed:
    """One thing that was assumed.

    Attributes:
        name: of the training argument.
        value: what it was taken to be, as JSON has it.
        source: why that.
        remedy: how to state it; empty: in a config.
    """

    name: str
    value: str
    source: str
    remedy: str = ""

    @property
    def fix(self) -> str:
        """How to state it."""
        return (
            self.remedy
            or f'--config content.pth of the same training, or --config FILE.json with {{"{self.name}": {self.value}}}'
        )

    def __str__(self) -> str:
        return f"{self.name} {self.value} ({self.source})"
