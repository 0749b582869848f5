"""How a served model is asked for images or PNG files, and how its answer is seen to be the right one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ddgan_deploy.serving.echo import DRAWN, check, seed_of_png

SEED, PNG = "seed", "png"
_DRAWN_SEED = DRAWN + SEED


@dataclass(frozen=True)
class Way:
    """The way from seeds to an output.

    Attributes:
        batch: seeds that a request may have.
        echoes: outputs that tell what the answer was made from.
    """

    model: str
    output: str
    batch: int
    echoes: tuple[str, ...]

    @classmethod
    def through(cls, model: str, config: Mapping[str, Any], output: str) -> Self | None:
        """The way through a model of this configuration; None: it does not turn seeds into such an output."""
        inputs = [tensor["name"] for tensor in config.get("input", []) if not tensor.get("optional")]
        outputs = [tensor["name"] for tensor in config.get("output", [])]
        batch = int(config.get("max_batch_size", 0))
        if inputs != [SEED] or output not in outputs or batch < 1:
            return None
        return cls(model, output, batch, tuple(name for name in outputs if name == _DRAWN_SEED))

    def checked(self, seeds: npt.NDArray[np.int64], answer: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The output out of an answer to seeds int64 [N, 1].

        Raises:
            WrongAnswerError: the answer tells that it was made from other seeds.
        """
        output, asked = answer[self.output], seeds.ravel().tolist()
        if self.echoes:
            check(SEED, asked, answer[_DRAWN_SEED].ravel().tolist())
        elif self.output == PNG:
            told = [seed_of_png(file) for file in output.ravel()]
            check(SEED, asked, [was if seed is None else seed for seed, was in zip(told, asked, strict=True)])
        return output
