"""A state dict -> a trained consistency model, and how it is sampled from.

The published code saves plain state dicts without any arguments: a config or a published network's own tell the rest.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan_deploy.artifact.assumptions import Assumed
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.adm.weights import in_float32, kind_of, plain_weights, shapes_of
from ddgan_deploy.families.base import Checkpoint, Family, Given
from ddgan_deploy.families.consistency.arguments import OTHER_MODES, read_arguments
from ddgan_deploy.families.consistency.config import ConsistencyConfig, ConsistencySampling, TrainingMode
from ddgan_deploy.families.consistency.model import unet_of
from ddgan_deploy.families.consistency.sampling import choose
from ddgan_deploy.files import sha256

if TYPE_CHECKING:
    from ddgan_deploy.families.consistency.reference import ConsistencyReference

_DEFAULTS = {
    "training_mode": "the networks of EDM, which are no consistency models, have the same keys and shapes",
    "sigma_min": "the published default",
    "sigma_max": "the published default",
}
"""Fields of the sampling that nothing but a config tells -> why they are taken to be what they are."""


@dataclass(frozen=True)
class ConsistencyCheckpoint(Checkpoint[ConsistencyConfig, ConsistencySampling]):
    """A trained consistency model; weights have their published names.

    Attributes:
        arguments: that a config states.
        known: fields of `ConsistencySampling` that hold where nothing else is said.
        recognised: name of the published network that told ``taken``.
        taken: fields of the model.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)
    recognised: str = ""
    taken: Collection[str] = ()

    def choose(self, steps: int | None = None) -> ConsistencySampling:
        """Onestep, or multistep as a config has it; see `sampling.choose`."""
        return choose(steps, self.arguments, self.known)

    def assumed(self, sampling: ConsistencySampling) -> tuple[Assumed, ...]:
        """What neither the file nor a config tells."""
        source = f"of the published {self.recognised}, whose keys and shapes these are"
        sources = {**dict.fromkeys(self.taken, source), **_DEFAULTS}
        values = {**vars(self.model), **vars(sampling)}
        return tuple(
            Assumed(name, json.dumps(values[name]), why) for name, why in sources.items() if name not in self.stated
        )

    def reference(self, sampling: ConsistencySampling) -> ConsistencyReference:
        """The reference sampler."""
        from ddgan_deploy.families.consistency.reference import reference

        return reference(self.model, self.weights, sampling)


def read_checkpoint(family: Family, contents: dict[str, Any], path: Path, given: Given) -> ConsistencyCheckpoint:
    """As `families.base.Family.read`."""
    if path.name.startswith("edm_"):
        raise InputError(
            f"{path} is an EDM's network by its name, which is no consistency model: give one such as "
            "cd_imagenet64_lpips.pt, or rename the file if it is one"
        )
    arguments = {} if given.config is None else read_arguments(given.config)
    said_by = str(path) if given.config is None else f"{path} with {given.config}"
    if arguments.get("training_mode") in OTHER_MODES:
        raise InputError(
            f"{said_by}: training_mode {arguments['training_mode']} makes no consistency model: give one, or correct "
            "--config"
        )
    weights, kind = plain_weights(contents, path), kind_of(path, given.weights)
    try:
        found = unet_of(shapes_of(weights), arguments, given.known)
    except InputError as error:
        raise InputError(f"{said_by}: {error}") from None
    return ConsistencyCheckpoint(
        family,
        path,
        sha256(path),
        found.model,
        in_float32(weights, path),
        kind,
        {*arguments, *given.known} - {*given.guessed},
        arguments,
        {"training_mode": _mode_of(path), **given.known},
        found.recognised.name if found.recognised else "",
        found.taken,
    )


def _mode_of(path: Path) -> TrainingMode:
    """How it was trained, as the published files are named; nothing that is drawn depends on which of the two it is."""
    return "consistency_training" if path.name.startswith("ct_") else "consistency_distillation"
