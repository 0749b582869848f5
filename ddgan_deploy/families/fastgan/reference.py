"""The reference sampler of a FastGAN generator: one pass, in PyTorch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ddgan_deploy.families.fastgan.config import FastganConfig
from ddgan_deploy.families.fastgan.network import Generator
from ddgan_deploy.families.fastgan.probed import probed_resolutions

_GLU_GAIN = 1.85
"""What a GLU takes from a value's size, given back by weights without training."""
_FAINT = 0.1
"""Noise beside features of order one."""
_CLASSES = 0.3
"""How far a class moves its scale and shift, without training."""


@dataclass(frozen=True)
class FastganReference:
    """See `families.base.Reference`.

    Attributes:
        generator: the network as it was read.
        draw: what is called: the generator, or what became of it.
    """

    generator: Generator
    draw: Callable[..., tuple[torch.Tensor, ...]]

    # Normalizations are in these, so their outputs are of order one.
    landmarks: tuple[type[nn.Module], ...] = (nn.Conv2d,)

    def run(
        self, inputs: Mapping[str, torch.Tensor], step: int | None = None, state: torch.Tensor | None = None
    ) -> Iterator[torch.Tensor]:
        """The features after each block, as far as they are probed, and the image."""
        config = self.generator.config
        noises = [inputs[f"noise_{i}"] for i in range(len(config.noise_resolutions))]
        *features, image = self.draw(inputs["z"], noises, inputs.get("label"))
        yield from features[: len(probed_resolutions(config))]
        yield image

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Of the generator."""
        yield from self.generator.named_modules()

    def mapped(self, transform: Callable[[Any], Any]) -> FastganReference:
        """With the generator transformed."""
        return dataclasses.replace(self, draw=transform(self.draw))

    def half(self) -> FastganReference:
        """With all but the latent's normalization and the image in float16; its authors use float32 alone."""
        self.generator.half()

        def draw(*inputs: Any) -> tuple[torch.Tensor, ...]:
            *features, image = self.generator(*inputs)
            return (*features, image.float())

        return dataclasses.replace(self, draw=draw)


def reference(config: FastganConfig, weights: Mapping[str, torch.Tensor]) -> FastganReference:
    """The sampler with these weights, in evaluation mode."""
    generator = Generator(config)
    generator.load_state_dict(dict(weights))
    return _sampler(generator)


def untrained(config: FastganConfig) -> FastganReference:
    """With random weights, such that values stay of a trained network's size."""
    generator = Generator(config)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in generator.named_parameters():
            size = _initial_size(name, weight)
            weight.copy_(torch.randn(weight.shape, generator=random) * size)
            if name.endswith("style.linear.bias"):
                weight[: len(weight) // 2] += 1
    return _sampler(generator)


def _initial_size(name: str, weight: torch.Tensor) -> float:
    if name.startswith("embed"):
        return 1.0
    if weight.dim() == 1 or "noise" in name:
        return _FAINT
    gain = _CLASSES if "style" in name else _GLU_GAIN if name.startswith("feat_") else 1.0
    return gain / math.sqrt(weight[0].numel())


def _sampler(generator: Generator) -> FastganReference:
    generator.eval().requires_grad_(False)
    return FastganReference(generator, generator)
