"""The model that encodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ddgan_deploy.images import COMMENT_BYTES, grid, png, with_comment
from ddgan_deploy.inputs import served_knobs
from ddgan_deploy.serving.backend.dlpack import padding, to_bytes_tensor
from ddgan_deploy.serving.backend.image_cache import Image
from ddgan_deploy.serving.backend.model import Inputs, Model
from ddgan_deploy.serving.echo import SEED, check, comments, drawn
from ddgan_deploy.serving.knobs import knobs_of

IMAGE = "image"


class PngModel(Model):
    """image UINT8 [n, H, W, C], seed INT64 [n, 1], drawn_seed and so on -> png BYTES [n, 1].

    An image that was drawn from another seed or knob than those that were asked for is refused, and a file's comment
    tells them. Without ``drawn_seed`` the images are taken for right; old repositories have no ``seed`` either.
    """

    def initialize(self, args: Mapping[str, str]) -> None:
        """Reads the model's configuration."""
        super().initialize(args)
        self._knobs = knobs_of(self._config)
        self._heart.start()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """A PNG file for each image."""
        return self.answers(requests, self._encode)

    def _encode(self, inputs: list[Inputs]) -> list[list[Any]]:
        return [[to_bytes_tensor(self.server, "png", self._files(each))] for each in inputs]

    def _files(self, inputs: Inputs) -> list[bytes]:
        images = inputs[IMAGE]
        if SEED not in inputs:
            return [padded_png(image) for image in images]
        given = {knob.name: inputs[knob.name] for knob in self._knobs if knob.name in inputs}
        asked = {SEED: inputs[SEED], **served_knobs(self._knobs, len(images), given)}
        check(asked, drawn(inputs))
        return [padded_png(*pair) for pair in zip(images, comments(asked), strict=True)]


def padded_png(pixels: Image, comment: str = "") -> bytes:
    """An image [H, W, C] as a PNG file that, with its length before it, fills whole blocks; see `dlpack`."""
    file = png(grid(pixels[None], scale=1, gap=0), optimize=False)
    text = comment.encode("latin-1")
    return with_comment(file, text + b" " * padding(len(file) + COMMENT_BYTES + len(text)))
