"""StyleGAN2 as a family: what its samplers take, draw and show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan_deploy.families.base import Given
from ddgan_deploy.families.stylegan2.checkpoint import StyleGan2Checkpoint, read_checkpoint
from ddgan_deploy.families.stylegan2.config import FARTHEST, Sampling, StyleGan2Config, blocks, noise_shapes
from ddgan_deploy.families.stylegan2.flags import TITLE
from ddgan_deploy.families.stylegan2.snapshot import is_generator
from ddgan_deploy.sampler import Draw, Knob, Probe, Sampler, Streams, label_knob

if TYPE_CHECKING:
    from ddgan_deploy.families.base import Reference


class StyleGan2:
    """See `families.base.Family`."""

    name = "stylegan2"
    title = TITLE
    model = StyleGan2Config
    sampling = Sampling
    graphs = "ddgan_deploy.export.families.stylegan2"

    def claims(self, contents: Mapping[str, Any]) -> bool:
        """By the modules of its ``G_ema``."""
        return is_generator(contents)

    def read(self, contents: dict[str, Any], path: Path, given: Given) -> StyleGan2Checkpoint:
        """See `read_checkpoint`."""
        return read_checkpoint(self, contents, path, given)

    def sampler(self, model: StyleGan2Config, sampling: Sampling) -> Sampler:
        """z, and where noise is random that of each convolution; truncation and a label."""
        noise = noise_shapes(model) if sampling.noise == "random" else []
        drawn = (Draw(f"noise_{i}", shape, 2 + 2 * i) for i, shape in enumerate(noise))
        draws = (Draw("z", (model.z_dim,), Streams(1, 2, 1)), *drawn)
        return Sampler(model.image_shape, sampling.steps, draws, tuple(_knobs(model, sampling)))

    def probes(self, model: StyleGan2Config, sampling: Sampling) -> tuple[Probe, ...]:
        """w, and the image so far at every size, or the features where there is none yet."""
        kind = "image" if model.architecture == "skip" else "features"
        inner = (Probe("", f"{block.name} {kind}", f"{block.name}/{kind}") for block in list(blocks(model))[:-1])
        return Probe("", "w", "w"), *inner, Probe("", "x_0", "x_0", shown=True)

    def facts(self, model: StyleGan2Config, sampling: Sampling) -> Mapping[str, str]:
        """What it is sampled with, and its widths."""
        found = {"Noise": sampling.noise, "Architecture": model.architecture, "Latent width": f"{model.z_dim}"}
        if model.c_dim:
            found["Classes"] = f"{model.c_dim}"
        if model.has_mean:
            cutoff = sampling.truncation_cutoff
            layers = "all layers" if cutoff is None else f"the first {cutoff} of {model.num_ws} layers"
            found["Truncation"] = f"{sampling.truncation:g} unless asked for, in {layers}"
        return found

    def untrained(self, model: StyleGan2Config, sampling: Sampling) -> Reference:
        """With weights as before training."""
        from ddgan_deploy.families.stylegan2.reference import reference, untrained

        return reference(model, untrained(model), sampling)


def _knobs(model: StyleGan2Config, sampling: Sampling) -> Iterator[Knob]:
    if model.c_dim:
        yield label_knob(model.c_dim)
    if model.has_mean:
        help_text = "how far latents go from their mean, 1 as they are"
        yield Knob(
            *("truncation", "float32", (1,), -FARTHEST, FARTHEST),
            default=sampling.truncation,
            tried=(0.5, 1.0),
            swept=(-0.5, 0.0, 0.3, 0.5, 0.7, 1.0),
            help=help_text,
        )


FAMILY = StyleGan2()
