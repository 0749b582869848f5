"""FastGAN generators as a family: what their samplers take, draw and show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan_deploy.families.base import Given
from ddgan_deploy.families.fastgan.checkpoint import FastganCheckpoint, read_checkpoint, seems_a_snapshot
from ddgan_deploy.families.fastgan.config import FastganConfig, FastganSampling
from ddgan_deploy.families.fastgan.flags import TITLE
from ddgan_deploy.families.fastgan.probed import block_node, probed_resolutions
from ddgan_deploy.sampler import Draw, Probe, Sampler, Streams, label_knob

if TYPE_CHECKING:
    from ddgan_deploy.families.base import Reference


class Fastgan:
    """See `families.base.Family`."""

    name = "fastgan"
    title = TITLE
    model = FastganConfig
    sampling = FastganSampling
    graphs = "ddgan_deploy.export.families.fastgan"

    def claims(self, contents: Mapping[str, Any]) -> bool:
        """By the names of the generator's parts."""
        return seems_a_snapshot(contents)

    def read(self, contents: dict[str, Any], path: Path, given: Given) -> FastganCheckpoint:
        """See `read_checkpoint`."""
        return read_checkpoint(self, contents, path, given)

    def sampler(self, model: FastganConfig, sampling: FastganSampling) -> Sampler:
        """The latent z, noise for every layer that has some, and of a conditional network a class."""
        noises = (Draw(f"noise_{i}", (1, r, r), 2 + 2 * i) for i, r in enumerate(model.noise_resolutions))
        draws = (Draw("z", (model.z_dim,), Streams(1, 2, 1)), *noises)
        return Sampler(model.image_shape, 1, draws, (label_knob(model.classes),) if model.cond else ())

    def probes(self, model: FastganConfig, sampling: FastganSampling) -> tuple[Probe, ...]:
        """The features after each block, as far as they are of moderate size, and the image."""
        blocks = (block_node(model, resolution) for resolution in probed_resolutions(model))
        return (*(Probe("", name, node) for name, node in blocks), Probe("", "x_0", "x_0", shown=True))

    def facts(self, model: FastganConfig, sampling: FastganSampling) -> Mapping[str, str]:
        """The latent's width, and what makes one network differ from another of its size."""
        noise = "none" if model.lite else f"random, in {len(model.noise_resolutions)} layers"
        classes = {"Classes": f"{model.classes}"} if model.cond else {}
        return {"Latent width": f"{model.z_dim}", "Noise": noise, **classes}

    def untrained(self, model: FastganConfig, sampling: FastganSampling) -> Reference:
        """With random weights."""
        from ddgan_deploy.families.fastgan.reference import untrained

        return untrained(model)


FAMILY = Fastgan()
