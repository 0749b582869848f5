"""The reference sampler: algorithm 2 of Xiao, Kreis & Vahdat (ICLR 2022), in PyTorch, one step at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ddgan_deploy.families.ddgan.blocks import AdaGN, Conditioning, GroupNorm
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.layers import NIN, PyramidConv, Resample
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.schedule import Schedule

Denoise = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""x_0 from x_t, integer times t [N] and latents z [N, nz]."""


@dataclass(frozen=True)
class DdganReference:
    """A generator and its T-step process; see `families.base.Reference`.

    Attributes:
        generator: the network as it was read.
        schedule: the process.
        denoise: what is called: the generator, or what became of it.
    """

    generator: Generator
    schedule: Schedule
    denoise: Denoise

    # Every few ops of the network end in a normalization, which brings its output to order one whatever the weights:
    # the error there is comparable along the network.
    landmarks: tuple[type[nn.Module], ...] = (AdaGN, GroupNorm)

    def run(
        self, inputs: Mapping[str, torch.Tensor], step: int | None = None, state: torch.Tensor | None = None
    ) -> Iterator[torch.Tensor]:
        """x_0 and the state after it, step by step."""
        x, z, noise = (inputs.get(name) for name in ("x_T", "z", "noise"))
        if state is not None:
            x = state
        assert x is not None and z is not None
        last = self.schedule.steps - 1
        for k in range(self.schedule.steps) if step is None else (step,):
            x_0 = self.denoise(x, torch.full((x.shape[0],), last - k, device=x.device), z[:, k])
            if k < last:
                assert noise is not None
                # Equation 4.
                coef_x0, coef_xt, sigma = self.schedule.posterior.at(last - k)
                x = coef_x0 * x_0 + coef_xt * x + sigma * noise[:, k]
            else:
                # Here the posterior is x_0 itself.
                x = x_0
            yield x_0
            yield x

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Of the generator."""
        yield from self.generator.named_modules()

    def mapped(self, transform: Callable[[Any], Any]) -> DdganReference:
        """With the generator transformed."""
        return dataclasses.replace(self, denoise=transform(self.denoise))

    def half(self) -> DdganReference:
        """With the U-Net in float16; conditioning, statistics and the state stay in float32."""
        return dataclasses.replace(self, denoise=_float16_denoise(self.generator))


def reference(generator: Generator, schedule: Schedule) -> DdganReference:
    """The sampler of a generator in evaluation mode."""
    return DdganReference(generator, schedule, generator)


def untrained(config: GeneratorConfig) -> Generator:
    """A generator whose values stay of a trained one's size, so that none is a slow denormal number."""
    generator = Generator(config)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in generator.parameters():
            if weight.dim() > 1:
                weight.copy_(torch.randn(weight.shape, generator=random) / weight[0].numel() ** 0.5)
    return generator.eval().requires_grad_(False)


def _float16_denoise(generator: Generator) -> Denoise:
    """The generator itself is changed."""
    for module in generator.modules():
        if isinstance(module, nn.Conv2d | NIN | Resample | PyramidConv):
            for weight in module.parameters(recurse=False):
                weight.data = weight.data.half()
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.half())

    def denoise(x: torch.Tensor, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        time_biases, styles = generator.condition(t, z)
        raw = generator.denoise(x.half(), Conditioning([bias.half() for bias in time_biases], styles)).float()
        return torch.tanh(raw) if generator.squash == "tanh" else raw

    return denoise
