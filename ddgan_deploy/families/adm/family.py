"""ADM as a family: what its samplers take, draw and show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan_deploy.families.adm.architecture import attends_in_2d
from ddgan_deploy.families.adm.checkpoint import AdmCheckpoint, is_unet_or_classifier, read_checkpoint
from ddgan_deploy.families.adm.config import MOST_GUIDANCE, AdmConfig, AdmSampling
from ddgan_deploy.families.adm.flags import TITLE
from ddgan_deploy.families.adm.schedule import process
from ddgan_deploy.families.base import Given
from ddgan_deploy.sampler import Draw, Knob, Probe, Sampler, Streams, label_knob

if TYPE_CHECKING:
    from ddgan_deploy.families.base import Reference


class Adm:
    """See `families.base.Family`."""

    name = "adm"
    title = TITLE
    model = AdmConfig
    sampling = AdmSampling
    graphs = "ddgan_deploy.export.families.adm"

    def claims(self, contents: Mapping[str, Any]) -> bool:
        """By the names of its first layers, which a classifier has too; consistency models attend otherwise."""
        return is_unet_or_classifier(contents) and not attends_in_2d(contents)

    def read(self, contents: dict[str, Any], path: Path, given: Given) -> AdmCheckpoint:
        """See `read_checkpoint`."""
        return read_checkpoint(self, contents, path, given)

    def sampler(self, model: AdmConfig, sampling: AdmSampling) -> Sampler:
        """x_T, under DDPM noise for every step but the last, and the knobs."""
        noise = Draw("noise", model.image_shape, Streams(2, 2, sampling.steps - 1))
        draws = (Draw("x_T", model.image_shape, 0), *((noise,) if sampling.sampler == "ddpm" else ()))
        return Sampler(model.image_shape, sampling.steps, draws, tuple(_knobs(model, sampling)))

    def probes(self, model: AdmConfig, sampling: AdmSampling) -> tuple[Probe, ...]:
        """The network's output, the classifier's gradient if there is one, and the state, step by step."""
        return tuple(_probes(model, sampling))

    def facts(self, model: AdmConfig, sampling: AdmSampling) -> Mapping[str, str]:
        """The process and what can be asked for."""
        kept = sampling.timestep_respacing or "all"
        found = {
            "Sampler": f"{sampling.sampler.upper()}, {kept} of {sampling.diffusion_steps} steps",
            "Schedule": sampling.noise_schedule,
            "Variance": "learned" if model.learn_sigma else "fixed",
        }
        if model.labels:
            found["Classes"] = f"{model.labels}"
        if model.classifier:
            found["Guidance"] = f"{sampling.guidance:g} unless asked for, pool {model.classifier.pool}"
        if model.small_size:
            found["Enlarges"] = f"{model.small_size}x{model.small_size}"
        return found

    def untrained(self, model: AdmConfig, sampling: AdmSampling) -> Reference:
        """With random weights."""
        from ddgan_deploy.families.adm.reference import reference, untrained

        return reference(model, untrained(model), sampling)


def _knobs(model: AdmConfig, sampling: AdmSampling) -> Iterator[Knob]:
    if model.labels:
        yield label_knob(model.labels)
    if model.classifier:
        yield Knob(
            *("guidance", "float32", (1,), -MOST_GUIDANCE, MOST_GUIDANCE),
            default=sampling.guidance,
            tried=(0.0, 4.0),
            swept=(0.0, 0.5, 1.0, 2.0, 4.0, 10.0),
            help="by what the classifier's gradient is multiplied",
        )
    if model.small_size:
        shape = (model.small_size, model.small_size, 3)
        yield Knob("low_res", "uint8", shape, 0, 255, help="the image to enlarge")


def _probes(model: AdmConfig, sampling: AdmSampling) -> Iterator[Probe]:
    for k, kept in enumerate(process(sampling)):
        place = f"step {k} (t={kept.timestep})"
        out = "x_start" if sampling.predict_xstart else "eps"
        yield Probe(place, out, f"step{k}/{out}", k)
        if model.classifier:
            yield Probe(place, "gradient", f"step{k}/gradient", k)
        if k == sampling.steps - 1:
            yield Probe(place, "x_0", "x_0", k, series="x_prev", shown=True)
        else:
            # An error of the noise comes back in x_0 times from_eps, and from there in the state times c1.
            amplified = 1.0 if sampling.predict_xstart else max(1.0, kept.c1 * kept.from_eps)
            step = "ReverseStep" if model.classifier or sampling.sampler == "ddpm" else "ReverseMean"
            yield Probe(place, "x_prev", f"step{k}/{step}", k, scale=amplified, state=True)


FAMILY = Adm()
"""The one."""
