"""A FastGAN generator's sampler as one graph: one pass, traced once."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir
import torch
from torch import nn

from ddgan_deploy.export.graph.rewriting import Rewrite
from ddgan_deploy.export.graph.steps import SamplerBuilder
from ddgan_deploy.export.graph.trace import trace
from ddgan_deploy.export.loop_choice import LoopChoice
from ddgan_deploy.families.fastgan.network import Generator
from ddgan_deploy.families.fastgan.reference import FastganReference
from ddgan_deploy.sampler import Sampler

_LATENT_STATISTICS = "normalize"
"""The layer that normalizes the latent."""


class FastganGraphs:
    """See `export.families.base.GraphFamily`."""

    rewrites: tuple[Rewrite, ...] = ()

    def build(
        self,
        reference: FastganReference,
        sampler: Sampler,
        without: Collection[str] = (),
        loop: LoopChoice = "auto",
    ) -> ir.Model:
        """``z``, the noises and, of a conditional network, ``label`` -> ``x_0``."""
        traced = trace_generator(reference.generator)
        build = SamplerBuilder(sampler, loop)
        (image,) = build.copy(traced.graph, list(build.inputs.values()), float32=(_LATENT_STATISTICS,))
        return build.model(build.op("Identity", [image], name="image/float32", float32=True))


GRAPHS = FastganGraphs()


def trace_generator(generator: Generator) -> ir.Model:
    """Traces a generator in evaluation mode: its inputs are as the sampler's, its output is the image."""
    config, batch = generator.config, torch.export.Dim("batch")
    z, noises = torch.zeros(2, 1, config.z_dim), [torch.zeros(2, 1, r, r) for r in config.noise_resolutions]
    label = torch.zeros(2, 1, dtype=torch.int64) if config.cond else None
    dynamic = ({0: batch}, [{0: batch} for _ in noises], None if label is None else {0: batch})
    return trace(_Image(generator), (z, noises, label), dynamic, within="generator.")


class _Image(nn.Module):
    """The generator without the features on the way."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, z: torch.Tensor, noises: list[torch.Tensor], label: torch.Tensor | None) -> torch.Tensor:
        image: torch.Tensor = self.generator(z, noises, label)[-1]
        return image
