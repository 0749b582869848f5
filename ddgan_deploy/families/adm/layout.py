"""The layers of a UNet and of a classifier, block by block, under their published names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ddgan_deploy.families.adm.config import AdmConfig, ClassifierConfig

Network = AdmConfig | ClassifierConfig
Kind = Literal["conv", "res", "attention", "down", "up"]
Resampling = Literal["none", "down", "up"]


@dataclass(frozen=True)
class Layer:
    """One layer of a block.

    Attributes:
        name: such as "input_blocks.3.0".
        kind: the first convolution; a residual block; an attention; a convolution that halves or doubles the size.
        inputs, outputs: channels.
        resampling: of a residual block.
        heads: of an attention.
    """

    name: str
    kind: Kind
    inputs: int
    outputs: int
    resampling: Resampling = "none"
    heads: int = 0


@dataclass(frozen=True)
class Block:
    """Layers that run after one another.

    Attributes:
        name: such as "input_blocks.3".
        layers: in running order.
        outputs: channels of the last.
    """

    name: str
    layers: tuple[Layer, ...]

    @property
    def outputs(self) -> int:
        """Channels of the last layer."""
        return self.layers[-1].outputs


def down_blocks(config: Network) -> Iterator[Block]:
    """The input blocks; every one of them is a skip of the way up."""
    channels = config.widths[0]
    yield Block("input_blocks.0", (Layer("input_blocks.0.0", "conv", config.in_channels, channels),))
    number = 1
    for level, width in enumerate(config.widths):
        for _ in range(config.num_res_blocks):
            name = f"input_blocks.{number}"
            yield Block(name, tuple(_block(config, name, level, channels, width)))
            channels, number = width, number + 1
        if level < len(config.widths) - 1:
            name = f"input_blocks.{number}"
            yield Block(name, (_resampling(config, f"{name}.0", channels, "down"),))
            number += 1


def middle_block(config: Network) -> Block:
    """The one at the deepest level, which always attends."""
    channels, name = config.widths[-1], "middle_block"
    attention = Layer(f"{name}.1", "attention", channels, channels, heads=config.heads(channels))
    first, last = (Layer(f"{name}.{i}", "res", channels, channels) for i in (0, 2))
    return Block(name, (first, attention, last))


def up_blocks(config: AdmConfig) -> Iterator[Block]:
    """The output blocks; each begins with what is before it and a skip, side by side."""
    skips = [block.outputs for block in down_blocks(config)]
    channels, number = config.widths[-1], 0
    for level in reversed(range(len(config.widths))):
        width = config.widths[level]
        for i in range(config.num_res_blocks + 1):
            name = f"output_blocks.{number}"
            layers = list(_block(config, name, level, channels + skips.pop(), width, up=True))
            if level and i == config.num_res_blocks:
                layers.append(_resampling(config, f"{name}.{len(layers)}", width, "up"))
            yield Block(name, tuple(layers))
            channels, number = width, number + 1


def all_layers(config: Network) -> Iterator[Layer]:
    """Of all blocks, in running order."""
    up = up_blocks(config) if isinstance(config, AdmConfig) else ()
    for block in (*down_blocks(config), middle_block(config), *up):
        yield from block.layers


def _block(config: Network, name: str, level: int, inputs: int, outputs: int, up: bool = False) -> Iterator[Layer]:
    yield Layer(f"{name}.0", "res", inputs, outputs)
    if level in config.attention_levels:
        yield Layer(f"{name}.1", "attention", outputs, outputs, heads=config.heads(outputs, up))


def _resampling(config: Network, name: str, channels: int, kind: Literal["down", "up"]) -> Layer:
    if config.resblock_updown:
        return Layer(name, "res", channels, channels, resampling=kind)
    return Layer(name, kind, channels, channels)
