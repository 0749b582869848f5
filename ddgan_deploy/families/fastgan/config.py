"""What a FastGAN generator is made of, and how it is sampled from, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from ddgan_deploy.errors import InputError

RESOLUTIONS = (32, 64, 128, 256, 512, 1024)
"""Of images, in pixels along a side; below 32 the published code has no image."""
SMALLEST = 4
"""Pixels along a side of the first features."""
ALWAYS_SAVED = 256
"""Blocks up to here are in a file whatever the image's resolution is."""
MAX_CLASSES = 1000
"""Rows of the published embedding, whatever the number of classes is."""
WIDTHS = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 1 / 2, 512: 1 / 4, 1024: 1 / 8}
"""Channels at each resolution, in ``ngf``."""
_GATED_BY = {64: 4, 128: 8, 256: 16, 512: 32}
"""Features at a resolution are multiplied by gates that are made of earlier ones."""
_MAX_IMAGE_CHANNELS = 4


@dataclass(frozen=True)
class FastganConfig:
    """The architecture of a FastGAN generator.

    Attributes:
        img_resolution: pixels along a side of the image.
        img_channels: of the image, 1..4.
        z_dim: width of the latent.
        c_dim: classes that it was trained with; without ``cond`` the network does not look at them.
        ngf: channels at 128x128; others are multiples of it.
        cond: whether normalizations depend on the class.
        lite: one convolution a block, without noise, in place of two with.

    Raises:
        InputError: there is no such network; the message names the value.
    """

    img_resolution: int
    img_channels: int
    z_dim: int
    c_dim: int
    ngf: int
    cond: bool = False
    lite: bool = False

    def __post_init__(self) -> None:
        if self.img_resolution not in RESOLUTIONS:
            raise InputError(
                f"img_resolution {self.img_resolution} is not supported, since the published code cannot run it: "
                f"use one of {', '.join(map(str, RESOLUTIONS))}"
            )
        if not 1 <= self.img_channels <= _MAX_IMAGE_CHANNELS:
            raise InputError(
                f"img_channels {self.img_channels} is not supported: use one of 1 to {_MAX_IMAGE_CHANNELS}"
            )
        if min(self.z_dim, self.ngf) < 1 or self.channels(self.img_resolution) < 1:
            raise InputError(f"z_dim {self.z_dim} and ngf {self.ngf} leave a layer without channels: use larger ones")
        if self.c_dim < 0 or (self.cond and not 1 <= self.c_dim <= MAX_CLASSES):
            raise InputError(f"c_dim {self.c_dim} is not supported for a conditional network: use 1 to {MAX_CLASSES}")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.img_channels, self.img_resolution, self.img_resolution

    @property
    def block_resolutions(self) -> tuple[int, ...]:
        """Pixels along a side after each block, from the first on."""
        return tuple(r for r in WIDTHS if SMALLEST < r <= self.img_resolution)

    @property
    def noise_resolutions(self) -> tuple[int, ...]:
        """Pixels along a side of each noise, in the order of use: two a block, none in a lite network."""
        return () if self.lite else tuple(r for r in self.block_resolutions for _ in range(2))

    @property
    def classes(self) -> int:
        """How many of them make a difference."""
        return self.c_dim if self.cond else 0

    def channels(self, resolution: int) -> int:
        """Of the features at a resolution."""
        return int(WIDTHS[resolution] * self.ngf)

    def gated_by(self, resolution: int) -> int | None:
        """The resolution of the features that gate those at this one (skip-layer excitation); None: they are not."""
        return _GATED_BY.get(resolution)


@dataclass(frozen=True)
class FastganSampling:
    """How a FastGAN generator is sampled from: in one pass, with fresh noise in every layer that has some.

    Raises:
        InputError: it is no such way.
    """

    steps: int = 1

    def __post_init__(self) -> None:
        if self.steps != 1:
            raise InputError(f"--steps {self.steps} is not for a FastGAN generator, which has one: leave it out")
