"""The reference sampler: one pass of the generator, in PyTorch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ddgan_deploy.families.stylegan2.config import Sampling, StyleGan2Config, blocks, noise_shapes, size_in_float16
from ddgan_deploy.families.stylegan2.folding import Weights, folded
from ddgan_deploy.families.stylegan2.keys import expected_shapes
from ddgan_deploy.families.stylegan2.network import Conv, Generator, Skip, StyledConv, UpConv


@dataclass(frozen=True)
class StyleGan2Reference:
    """A generator; see `families.base.Reference`.

    Attributes:
        generator: the network as it was read.
        called: what is called: the generator, or what became of it.
    """

    generator: Generator
    called: Callable[..., list[torch.Tensor]]

    # Demodulation and activation bring values to one size whatever the weights.
    landmarks: tuple[type[nn.Module], ...] = (StyledConv,)

    def run(
        self, inputs: Mapping[str, torch.Tensor], step: int | None = None, state: torch.Tensor | None = None
    ) -> Iterator[torch.Tensor]:
        """w, the blocks' images or features, x_0."""
        noises = [inputs[name] for name in noise_names(self.generator)]
        yield from self.called(inputs["z"], inputs.get("label"), inputs.get("truncation"), noises)

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Of the generator."""
        yield from self.generator.named_modules()

    def mapped(self, transform: Callable[[Any], Any]) -> StyleGan2Reference:
        """With the generator transformed."""
        return dataclasses.replace(self, called=transform(self.called))

    def half(self) -> StyleGan2Reference:
        """With the convolutions of the larger sizes in float16, as the published code has them."""
        config = self.generator.config
        for block in blocks(config):
            if block.size >= size_in_float16(config):
                for module in self.generator.synthesis.get_submodule(block.name).modules():
                    if isinstance(module, Conv | UpConv | Skip):
                        module.half()
        return self


def reference(config: StyleGan2Config, weights: Weights, sampling: Sampling) -> StyleGan2Reference:
    """The sampler of published weights, in evaluation mode."""
    generator = Generator(config, sampling)
    generator.load_state_dict(folded(config, weights, sampling.noise))
    generator.eval().requires_grad_(False)
    return StyleGan2Reference(generator, generator)


def noise_names(generator: Generator) -> list[str]:
    """Of the inputs that a generator draws for its convolutions."""
    if generator.sampling.noise != "random":
        return []
    return [f"noise_{i}" for i in range(len(noise_shapes(generator.config)))]


def untrained(config: StyleGan2Config) -> Weights:
    """Published weights as before the first step of training, which keep values of order one."""
    random = torch.Generator().manual_seed(0)
    found = {}
    for name, shape in expected_shapes(config).items():
        value = torch.randn(shape, generator=random)
        if name.endswith("resample_filter"):
            taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) if shape[0] == 4 else torch.ones(shape[0])
            value = torch.outer(taps, taps) / taps.sum() ** 2
        elif name.endswith("bias"):
            value = torch.full(shape, 1.0 if "affine" in name else 0.0)
        elif name.endswith("noise_strength"):
            value = torch.full(shape, 0.1)
        elif name.startswith("mapping.fc"):
            value /= config.lr_multiplier
        found[name] = value if name != "mapping.w_avg" else torch.zeros(shape)
    return found
