"""The models behind those that draw, which look whether an image is the one that was asked for before it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ddgan_deploy.images import COMMENT_BYTES, grid, png, with_comment
from ddgan_deploy.inputs import served_knobs
from ddgan_deploy.serving.backend.dlpack import padding, to_bytes_tensor, to_tensor
from ddgan_deploy.serving.backend.image_cache import Image
from ddgan_deploy.serving.backend.model import Inputs, Model
from ddgan_deploy.serving.echo import SEED, Values, check, comments, drawn
from ddgan_deploy.serving.knobs import knobs_of

IMAGE = "image"


class LastModel(Model):
    """image UINT8 [n, H, W, C], seed INT64 [n, 1], knobs, drawn_seed and so on -> what a client gets.

    An image that was drawn from another seed or knob than those that were asked for is refused. Without ``drawn_seed``
    the images are taken for right.
    """

    def initialize(self, args: Mapping[str, str]) -> None:
        """Reads the model's configuration."""
        super().initialize(args)
        self._knobs = knobs_of(self._config)
        self._heart.start()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """An answer for each image."""
        return self.answers(requests, lambda inputs: [[self._answer(each)] for each in inputs])

    def _answer(self, inputs: Inputs) -> Any:
        """The output tensor of a request.

        Raises:
            WrongAnswerError: the images are not those that it asks for.
        """
        raise NotImplementedError

    def _asked(self, inputs: Inputs) -> Values:
        """What the images were asked with, the knobs that were left out too.

        Raises:
            WrongAnswerError: they were drawn from something else.
        """
        given = {knob.name: inputs[knob.name] for knob in self._knobs if knob.name in inputs}
        asked = {SEED: inputs[SEED], **served_knobs(self._knobs, len(inputs[IMAGE]), given)}
        check(asked, drawn(inputs))
        return asked


class PixelModel(LastModel):
    """Gives the images on: ``image`` UINT8 [n, H, W, C]."""

    def _answer(self, inputs: Inputs) -> Any:
        self._asked(inputs)
        return to_tensor(self.server, IMAGE, inputs[IMAGE])


class PngModel(LastModel):
    """Encodes: ``png`` BYTES [n, 1], with a comment that tells the seed and the knobs.

    Old repositories give it images alone.
    """

    def _answer(self, inputs: Inputs) -> Any:
        images = inputs[IMAGE]
        told = comments(self._asked(inputs)) if SEED in inputs else [""] * len(images)
        files = [padded_png(*pair) for pair in zip(images, told, strict=True)]
        return to_bytes_tensor(self.server, "png", files)


def padded_png(pixels: Image, comment: str = "") -> bytes:
    """An image [H, W, C] as a PNG file that, with its length before it, fills whole blocks; see `dlpack`."""
    file = png(grid(pixels[None], scale=1, gap=0), optimize=False)
    text = comment.encode("latin-1")
    return with_comment(file, text + b" " * padding(len(file) + COMMENT_BYTES + len(text)))
