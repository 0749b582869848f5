"""The reference sampler in PyTorch: onestep and multistep (Song et al. 2023, algorithm 1), one step at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ddgan_deploy.families.adm.layers import AdaGN, Norm
from ddgan_deploy.families.adm.network import UNet
from ddgan_deploy.families.adm.reference import load_unet
from ddgan_deploy.families.consistency.config import ConsistencyConfig, ConsistencySampling
from ddgan_deploy.families.consistency.schedule import process


@dataclass(frozen=True)
class ConsistencyReference:
    """A UNet and the levels it runs at; see `families.base.Reference`.

    Attributes:
        unet: the network as it was read.
        sampling: which levels.
        denoise: what is called: the network, or what became of it.
    """

    unet: UNet
    sampling: ConsistencySampling
    denoise: Callable[..., torch.Tensor]

    landmarks: tuple[type[nn.Module], ...] = (AdaGN, Norm)

    def run(
        self, inputs: Mapping[str, torch.Tensor], step: int | None = None, state: torch.Tensor | None = None
    ) -> Iterator[torch.Tensor]:
        """The network's output, and the state after each step."""
        x = inputs["x_T"] * self.sampling.sigma_max if state is None else state
        label, noise = inputs.get("label"), inputs.get("noise")
        levels = process(self.sampling)
        for k in range(len(levels)) if step is None else (step,):
            level, is_last = levels[k], k == len(levels) - 1
            t = torch.full((1,), level.time, dtype=torch.float32, device=x.device)
            out = self.denoise(x * level.c_in, self.unet.styles(self.unet.embed(t, label)))
            yield out
            x = level.c_out * out + level.c_skip * x
            if self.sampling.clip_denoised or is_last:
                x = x.clamp(-1, 1)
            if noise is not None and not is_last:
                x = x + level.noise * noise[:, k]
            yield x

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Of the UNet."""
        yield from self.unet.named_modules()

    def mapped(self, transform: Callable[[Any], Any]) -> ConsistencyReference:
        """With the network transformed."""
        return dataclasses.replace(self, denoise=transform(self.denoise))

    def half(self) -> ConsistencyReference:
        """With the convolutions of all blocks in float16, as published; embeddings, norms and softmax stay."""
        self.unet.halve()
        return self


def reference(
    config: ConsistencyConfig, weights: Mapping[str, torch.Tensor], sampling: ConsistencySampling
) -> ConsistencyReference:
    """The sampler of published weights, in evaluation mode."""
    unet = load_unet(config, weights)
    return ConsistencyReference(unet, sampling, unet)
