"""Consistency models as a family: what their samplers take, draw and show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan_deploy.families.adm.architecture import attends_in_2d, seems_a_network
from ddgan_deploy.families.base import Given
from ddgan_deploy.families.consistency.checkpoint import ConsistencyCheckpoint, read_checkpoint
from ddgan_deploy.families.consistency.config import ConsistencyConfig, ConsistencySampling
from ddgan_deploy.families.consistency.schedule import process
from ddgan_deploy.sampler import Draw, Probe, Sampler, Streams, label_knob
from ddgan_deploy.weight_files.names import plain_name

if TYPE_CHECKING:
    from ddgan_deploy.families.base import Reference


class Consistency:
    """See `families.base.Family`."""

    name = "consistency"
    title = "a consistency model"
    model = ConsistencyConfig
    sampling = ConsistencySampling
    graphs = "ddgan_deploy.export.families.consistency"

    def claims(self, contents: Mapping[str, Any]) -> bool:
        """By ADM's names with an attention of another form."""
        return seems_a_network(map(plain_name, contents)) and attends_in_2d(contents)

    def read(self, contents: dict[str, Any], path: Path, given: Given) -> ConsistencyCheckpoint:
        """See `read_checkpoint`."""
        return read_checkpoint(self, contents, path, given)

    def sampler(self, model: ConsistencyConfig, sampling: ConsistencySampling) -> Sampler:
        """x_T, noise after every step but the last, and where there are classes one of them."""
        noise = Draw("noise", model.image_shape, Streams(2, 2, sampling.steps - 1))
        draws = (Draw("x_T", model.image_shape, 0), *((noise,) if sampling.steps > 1 else ()))
        knobs = (label_knob(model.num_classes),) if model.num_classes else ()
        return Sampler(model.image_shape, sampling.steps, draws, knobs)

    def probes(self, model: ConsistencyConfig, sampling: ConsistencySampling) -> tuple[Probe, ...]:
        """The network's output and the state, step by step."""
        return tuple(_probes(sampling))

    def facts(self, model: ConsistencyConfig, sampling: ConsistencySampling) -> Mapping[str, str]:
        """The levels and what can be asked for."""
        multistep = f"multistep, {sampling.indices} of {sampling.levels} levels"
        classes = {"Classes": f"{model.num_classes}"} if model.num_classes else {}
        return {
            "Sampler": multistep if sampling.ts else "onestep",
            "Noise": f"sigma {sampling.sigma_max:g} to {sampling.sigma_min:g}",
            **classes,
        }

    def untrained(self, model: ConsistencyConfig, sampling: ConsistencySampling) -> Reference:
        """With random weights."""
        from ddgan_deploy.families.adm.reference import untrained
        from ddgan_deploy.families.consistency.reference import reference

        return reference(model, untrained(model), sampling)


def _probes(sampling: ConsistencySampling) -> Iterator[Probe]:
    for k, level in enumerate(process(sampling)):
        place = f"step {k} (sigma={level.sigma:.4g})"
        yield Probe(place, "output", f"step{k}/output", k)
        if k == sampling.steps - 1:
            yield Probe(place, "x_0", "x_0", k, series="state", shown=True)
        else:
            yield Probe(place, "state", f"step{k}/ReverseStep", k, state=True)


FAMILY = Consistency()
"""The one."""
