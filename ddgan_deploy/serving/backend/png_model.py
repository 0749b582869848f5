"""The model that encodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ddgan_deploy.images import COMMENT_BYTES, grid, png, with_comment
from ddgan_deploy.serving.backend.dlpack import padding, to_bytes_tensor
from ddgan_deploy.serving.backend.image_cache import Image
from ddgan_deploy.serving.backend.model import Inputs, Model
from ddgan_deploy.serving.echo import DRAWN, check, seed_comment

IMAGE = "image"
DRAWN_SEED = DRAWN + "seed"


class PngModel(Model):
    """image UINT8 [n, H, W, C], drawn_seed, seed INT64 [n, 1] -> png BYTES [n, 1].

    An image that was drawn from another seed than the one that was asked for is refused, and a file's comment tells its
    seed. Without ``drawn_seed`` the images are taken for right; old repositories have no ``seed`` either.
    """

    def initialize(self, args: Mapping[str, str]) -> None:
        """Reads the model's configuration."""
        super().initialize(args)
        self._heart.start()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """A PNG file for each image."""
        return self.answers(requests, self._encode)

    def _encode(self, inputs: list[Inputs]) -> list[list[Any]]:
        return [[to_bytes_tensor(self.server, "png", self._files(each))] for each in inputs]

    def _files(self, inputs: Inputs) -> list[bytes]:
        if "seed" not in inputs:
            return [padded_png(image) for image in inputs[IMAGE]]
        seeds = inputs["seed"].ravel().tolist()
        check("seed", seeds, inputs.get(DRAWN_SEED, inputs["seed"]).ravel().tolist())
        return [padded_png(*pair) for pair in zip(inputs[IMAGE], seeds, strict=True)]


def padded_png(pixels: Image, seed: int | None = None) -> bytes:
    """An image [H, W, C] as a PNG file that, with its length before it, fills whole blocks; see `tensors`."""
    file = png(grid(pixels[None], scale=1, gap=0), optimize=False)
    comment = b"" if seed is None else seed_comment(seed)
    return with_comment(file, comment + b" " * padding(len(file) + COMMENT_BYTES + len(comment)))
