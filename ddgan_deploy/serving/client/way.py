"""How a served model is asked for images or PNG files, and how its answer is seen to be the right one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy.typing as npt

from ddgan_deploy.sampler import Knob
from ddgan_deploy.serving.echo import DRAWN, SEED, Values, WrongAnswerError, check, comment_of_png, comments, drawn
from ddgan_deploy.serving.knobs import asked_with

IMAGE, PNG = "image", "png"


@dataclass(frozen=True)
class Way:
    """The way from seeds and knobs to an output.

    Attributes:
        batch: seeds that a request may have.
        knobs: that the model has.
        echoes: outputs that tell what the answer was made from.
        shape: of an output behind the batch; of an image (H, W, C). Empty where the model does not tell.
    """

    model: str
    output: str
    batch: int
    knobs: tuple[Knob, ...]
    echoes: tuple[str, ...]
    shape: tuple[int, ...] = ()

    @classmethod
    def through(cls, model: str, config: Mapping[str, Any], output: str) -> Self | None:
        """The way through a model of this configuration; None: it does not turn seeds into such an output.

        Raises:
            InputError: the configuration cannot be read.
        """
        knobs = asked_with(config)
        outputs = {tensor["name"]: tuple(map(int, tensor.get("dims", ()))) for tensor in config.get("output", [])}
        batch = int(config.get("max_batch_size", 0))
        if knobs is None or output not in outputs or batch < 1:
            return None
        ours = {SEED, *(knob.name for knob in knobs)}
        echoes = tuple(name for name in outputs if name.startswith(DRAWN) and name.removeprefix(DRAWN) in ours)
        return cls(model, output, batch, knobs, echoes, outputs[output])

    def checked(self, asked: Values, answer: Values) -> npt.NDArray[Any]:
        """The output out of an answer to seeds int64 [N, 1] and all knobs [N, ...].

        Raises:
            WrongAnswerError: the answer tells that it was made from something else.
        """
        output = answer[self.output]
        check(asked, drawn(answer))
        if self.output == PNG and not self.echoes:
            for wanted, file in zip(comments(asked), output.ravel(), strict=True):
                told = comment_of_png(file)
                if told not in (None, wanted):
                    raise WrongAnswerError(f"{wanted} came with an image of {told}")
        return output
