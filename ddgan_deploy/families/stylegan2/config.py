"""The architecture of a StyleGAN2 generator, layer by layer, and how it is sampled from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ddgan_deploy.families.stylegan2.flags import Noise

Architecture = Literal["skip", "orig", "resnet"]
Activation = Literal["lrelu", "relu", "linear"]
SLOPES = {"lrelu": 0.2, "relu": 0.0, "linear": 1.0}
"""Of an activation below zero."""
GAINS = {"lrelu": 2**0.5, "relu": 2**0.5, "linear": 1.0}
"""By which an activation is multiplied, so that variances stay."""
FARTHEST = 4.0
"""Times the way from the mean of w, in either direction, that truncation may go."""
FIRST_SIZE = 4
"""Pixels along a side of the constant that an image begins with."""


@dataclass(frozen=True)
class StyleGan2Config:
    """What a snapshot tells of a generator.

    Attributes:
        z_dim, w_dim: widths of the latents z and w.
        c_dim: number of classes, 0 where there are none.
        image_size: pixels along a side of an image, a power of two from 4 on.
        num_channels: of an image.
        channels: of the blocks' features, from 4x4 pixels on, doubling.
        mapping_widths: of the mapping network's layers.
        embed_width: of a class's embedding; 0 where there are no classes.
        lr_multiplier: of the mapping network's layers.
        architecture: how images are gathered from the blocks; figure 7 of Karras et al. 2020 (StyleGAN2).
        mapping_activation, activation: of the mapping network's layers and of the convolutions.
        filter_width: of the resampling filter, even.
        use_noise: whether convolutions have noise at all.
        conv_clamp: at which the convolutions' outputs are cut off; None: nowhere.
        float16_from: size from which on the published code runs in float16; 0: nowhere.
        has_mean: whether the mean of w is known, without which there is no truncation.
    """

    z_dim: int
    w_dim: int
    c_dim: int
    image_size: int
    num_channels: int
    channels: tuple[int, ...]
    mapping_widths: tuple[int, ...]
    embed_width: int
    lr_multiplier: float
    architecture: Architecture = "skip"
    mapping_activation: Activation = "lrelu"
    activation: Activation = "lrelu"
    filter_width: int = 4
    use_noise: bool = True
    conv_clamp: float | None = None
    float16_from: int = 0
    has_mean: bool = True

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.num_channels, self.image_size, self.image_size

    @property
    def num_ws(self) -> int:
        """Layers that take a w of their own: each convolution, and what makes the last image."""
        return 2 * len(self.channels)


@dataclass(frozen=True)
class Sampling:
    """How a generator is sampled from.

    Attributes:
        noise: of the convolutions.
        truncation: psi, as far as nothing else is asked for; 1 leaves w as it is.
        truncation_cutoff: layers that it holds for, from the first on; None: all.
        steps: one pass makes an image.
    """

    noise: Noise = "const"
    truncation: float = 1.0
    truncation_cutoff: int | None = None
    steps: int = 1


@dataclass(frozen=True)
class Layer:
    """A layer with a style of its own.

    Attributes:
        name: such as "b8.conv0".
        w: which of the ws it takes.
        inputs, outputs: channels.
        size: pixels along a side of its output.
        up: whether it doubles the size.
        is_rgb: whether it makes an image of features, by a 1x1 convolution.
    """

    name: str
    w: int
    inputs: int
    outputs: int
    size: int
    up: bool = False
    is_rgb: bool = False


@dataclass(frozen=True)
class Block:
    """The layers of one size.

    Attributes:
        name: such as "b8".
        size: pixels along a side.
        inputs, outputs: channels of its features; no inputs where it begins with a constant.
        layers: in running order.
        is_summed: whether its features are a residual sum.
        enlarges_image: whether it puts its image on top of the one before.
    """

    name: str
    size: int
    inputs: int
    outputs: int
    layers: tuple[Layer, ...]
    is_summed: bool
    enlarges_image: bool

    @property
    def has_image(self) -> bool:
        """Whether an image is made here."""
        return self.layers[-1].is_rgb


def blocks(config: StyleGan2Config) -> Iterator[Block]:
    """The blocks of a generator, in running order."""
    w, inputs = 0, 0
    for i, outputs in enumerate(config.channels):
        size = FIRST_SIZE << i
        name = f"b{size}"
        found = []
        if inputs:
            found.append(Layer(f"{name}.conv0", w, inputs, outputs, size, up=True))
            w += 1
        found.append(Layer(f"{name}.conv1", w, outputs, outputs, size))
        w += 1
        if config.architecture == "skip" or i == len(config.channels) - 1:
            # The next block's first convolution takes the same.
            found.append(Layer(f"{name}.torgb", w, outputs, config.num_channels, size, is_rgb=True))
        is_summed, enlarges_image = (config.architecture == kind and i > 0 for kind in ("resnet", "skip"))
        yield Block(name, size, inputs, outputs, tuple(found), is_summed, enlarges_image)
        inputs = outputs


def size_in_float16(config: StyleGan2Config) -> int:
    """Size from which on the published code would run in float16: as the snapshot says, or in its last four sizes."""
    return config.float16_from or max(config.image_size >> 3, 2 * FIRST_SIZE)


def noise_shapes(config: StyleGan2Config) -> list[tuple[int, int, int]]:
    """Of one image's random noise, in the order of use."""
    return [(1, layer.size, layer.size) for layer in layers(config) if config.use_noise and not layer.is_rgb]


def layers(config: StyleGan2Config) -> Iterator[Layer]:
    """The layers of all blocks, in running order."""
    return (layer for block in blocks(config) for layer in block.layers)
