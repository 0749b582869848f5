"""The words in which engine files are described; importing them costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Runtime = Literal["tensorrt", "tensorrt-rtx"]
Kernels = Literal["fused", "portable"]
Compatibility = Literal["none", "ampere_plus", "same_compute_capability"]

TITLES: Mapping[Runtime, str] = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}


@dataclass(frozen=True)
class BatchProfile:
    """The one optimization profile of an engine: batch sizes it takes, and the one it is tuned for."""

    least: int
    best: int
    most: int

    def __str__(self) -> str:
        return f"{self.least}:{self.best}:{self.most}"
