"""Denoising Diffusion GANs as a family: what their samplers take, draw and show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan_deploy.families.base import Given
from ddgan_deploy.families.ddgan.checkpoint import DdganCheckpoint, read_checkpoint
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.families.ddgan.weights import seems_a_generator
from ddgan_deploy.sampler import Draw, Precision, Probe, Sampler, Streams

if TYPE_CHECKING:
    from ddgan_deploy.families.base import Reference

ROUGH_X0: Mapping[Precision, float] = {"int8": 30.0}
"""dB of x0 before the last step, which hands on x_prev: most of that is the state before, and little is this x0."""


class Ddgan:
    """See `families.base.Family`."""

    name = "ddgan"
    title = "a Denoising Diffusion GAN's generator"
    model = GeneratorConfig
    sampling = Schedule
    graphs = "ddgan_deploy.export.families.ddgan"

    def claims(self, contents: Mapping[str, Any]) -> bool:
        """By the names of its two parts."""
        return seems_a_generator(contents)

    def read(self, contents: dict[str, Any], path: Path, given: Given) -> DdganCheckpoint:
        """See `read_checkpoint`."""
        return read_checkpoint(self, contents, path, given)

    def sampler(self, model: GeneratorConfig, sampling: Schedule) -> Sampler:
        """x_T, and for every step k its latent z, and noise but for the last (k = 0 goes with t = T-1)."""
        steps = sampling.steps
        noise = (Draw("noise", model.image_shape, Streams(2, 2, steps - 1)),) if steps > 1 else ()
        draws = (Draw("x_T", model.image_shape, 0), Draw("z", (model.nz,), Streams(1, 2, steps)), *noise)
        return Sampler(model.image_shape, steps, draws)

    def probes(self, model: GeneratorConfig, sampling: Schedule) -> tuple[Probe, ...]:
        """The generator's x0 at every step, and the state after it."""
        return tuple(probe for k in range(sampling.steps) for probe in _step_probes(k, sampling.steps))

    def facts(self, model: GeneratorConfig, sampling: Schedule) -> Mapping[str, str]:
        """The schedule and the latent's width."""
        kind = "geometric" if sampling.use_geometric else "variance preserving"
        return {
            "Schedule": f"{kind}, β {sampling.beta_min:g} to {sampling.beta_max:g}",
            "Latent width": f"{model.nz}",
        }

    def untrained(self, model: GeneratorConfig, sampling: Schedule) -> Reference:
        """With random weights."""
        from ddgan_deploy.families.ddgan.reference import reference, untrained

        return reference(untrained(model), sampling)


def _step_probes(k: int, steps: int) -> tuple[Probe, Probe]:
    place = f"step {k} (t={steps - 1 - k})"
    if k == steps - 1:
        x0 = Probe(place, "x0", "x_0", k, shown=True)
        return x0, Probe(place, "x_0", "x_0", k, series="x_prev")
    x0 = Probe(place, "x0", f"step{k}/x0", k, psnr=ROUGH_X0, shown=True)
    return x0, Probe(place, "x_prev", f"step{k}/ReverseStep", k, state=True)


FAMILY = Ddgan()
