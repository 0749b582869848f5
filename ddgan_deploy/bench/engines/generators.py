"""The generator that PyTorch's rows run, and the sampler as one function of tensors on any device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from ddgan_deploy.artifact.manifest import read_artifact
from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.schedule import Schedule, denoising_steps

Denoise = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""x_0 from x_t, integer times t [N] and latents z [N, nz]."""


def open_generator(job: SampleJob) -> tuple[Generator, Schedule]:
    """The generator of an artifact's architecture, in evaluation mode, and its schedule."""
    manifest = read_artifact(job.artifact, check_files=False).manifest
    if job.checkpoint is None:
        return random_generator(manifest.generator), manifest.schedule
    # What the weights do not tell is as it was at the export.
    checkpoint = load_checkpoint(job.checkpoint, known=dataclasses.asdict(manifest.generator))
    return checkpoint.generator(), manifest.schedule


def random_generator(config: GeneratorConfig) -> Generator:
    """A generator whose values stay of a trained one's size, so that none is a slow denormal number."""
    generator = Generator(config)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in generator.parameters():
            if weight.dim() > 1:
                weight.copy_(torch.randn(weight.shape, generator=random) / weight[0].numel() ** 0.5)
    return generator.eval().requires_grad_(False)


def sample(
    denoise: Denoise, schedule: Schedule, x: torch.Tensor, z: torch.Tensor, noise: torch.Tensor | None
) -> torch.Tensor:
    """x_0 [N, C, H, W], by all of `denoising_steps`."""
    for _, state in denoising_steps(denoise, schedule, x, z, noise):
        x = state
    return x
