"""A state dict, and with it a classifier's -> a trained UNet, and how it is sampled from.

The published code saves plain state dicts, ``ema_<rate>_<step>.pt`` of averages and ``model<step>.pt`` of raw weights,
without any arguments: a config, the flags, or a published network's own tell the rest.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan_deploy.artifact.assumptions import Assumed
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.adm.architecture import is_classifier, seems_a_network
from ddgan_deploy.families.adm.arguments import read_arguments
from ddgan_deploy.families.adm.config import AdmConfig, AdmSampling, ClassifierConfig
from ddgan_deploy.families.adm.keys import CLASSIFIER
from ddgan_deploy.families.adm.model import Read, classifier_of, unet_of
from ddgan_deploy.families.adm.sampling import choose
from ddgan_deploy.families.adm.weights import in_float32, kind_of, plain_weights, shapes_of
from ddgan_deploy.families.base import Checkpoint, Family, Given
from ddgan_deploy.files import sha256
from ddgan_deploy.weight_files.names import plain_name
from ddgan_deploy.weight_files.reading import read

if TYPE_CHECKING:
    import torch

    from ddgan_deploy.families.adm.reference import AdmReference

_DEFAULTS = ("diffusion_steps", "noise_schedule", "predict_xstart", "rescale_timesteps")
"""Of the process that it was trained for: fields whose published defaults hold where nothing states them."""
_GUIDE_HEADS = "classifier_num_head_channels"
"""A constant in the published code, whose place this argument takes."""


@dataclass(frozen=True)
class AdmCheckpoint(Checkpoint[AdmConfig, AdmSampling]):
    """A trained UNet, and what guides it; weights have their published names, those of the classifier after a prefix.

    Attributes:
        asked: of the family's flags.
        arguments: that a config states.
        known: fields of `AdmSampling` that hold where nothing else is said.
        recognised: name of the published network that told ``taken``.
        taken: fields of the model or of its sampling.
    """

    asked: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)
    recognised: str = ""
    taken: Collection[str] = ()

    @property
    def trained_steps(self) -> int | None:
        """T, where the config tells it."""
        try:
            return self.choose().steps if self.arguments.get("timestep_respacing") else None
        except InputError:
            return None

    def choose(self, steps: int | None = None) -> AdmSampling:
        """The process of T respaced steps; see `sampling.choose`."""
        return choose(steps, self.asked, self.arguments, self.known, self.model.classifier is not None)

    def assumed(self, sampling: AdmSampling) -> tuple[Assumed, ...]:
        """What neither the file nor a config tells."""
        source = f"of the published {self.recognised}, whose keys and shapes these are"
        values = {**vars(self.model), **vars(sampling)}
        if self.model.classifier:
            values[_GUIDE_HEADS] = self.model.classifier.num_head_channels
        return tuple(
            Assumed(name, json.dumps(values[name]), source if name in self.taken else "the published default")
            for name in dict.fromkeys((*self.taken, *_DEFAULTS, _GUIDE_HEADS))
            if name not in self.stated and name in values
        )

    def reference(self, sampling: AdmSampling) -> AdmReference:
        """The reference sampler."""
        from ddgan_deploy.families.adm.reference import reference

        return reference(self.model, self.weights, sampling)


def read_checkpoint(family: Family, contents: dict[str, Any], path: Path, given: Given) -> AdmCheckpoint:
    """As `families.base.Family.read`."""
    arguments = {} if given.config is None else read_arguments(given.config)
    weights, kind = plain_weights(contents, path), kind_of(path, given.weights)
    said_by = str(path) if given.config is None else f"{path} with {given.config}"
    if is_classifier(weights):
        raise InputError(f"{path} is a classifier: give a UNet by --ckpt, and this by --classifier")
    try:
        found = unet_of(shapes_of(weights), arguments, given.known)
    except InputError as error:
        raise InputError(f"{said_by}: {error}") from None
    model = found.model
    others: Mapping[str, torch.Tensor] = {}
    guide, before = given.asked.get("classifier"), given.known.get("classifier") or {}
    if guide is not None:
        model, others = _guided(found, Path(guide), arguments, before)
    elif before:
        raise InputError(f"{path} was exported with a classifier: give it again by --classifier FILE")
    elif "guidance" in given.asked:
        raise InputError("--guidance needs a classifier to follow: give --classifier FILE, or leave it out")
    recognised = found.recognised
    return AdmCheckpoint(
        family,
        path,
        sha256(path),
        model,
        in_float32(weights, path) | {f"{CLASSIFIER}{name}": value for name, value in others.items()},
        kind,
        {*arguments, *given.known, *([_GUIDE_HEADS] if before else [])} - {*given.guessed},
        {name: value for name, value in given.asked.items() if name != "classifier"},
        arguments,
        {**(recognised.known if recognised else {}), **given.known},
        recognised.name if recognised else "",
        found.taken,
    )


def is_unet_or_classifier(contents: Mapping[str, Any]) -> bool:
    """Whether a file's contents are the weights of either, by their names."""
    return seems_a_network(map(plain_name, contents))


def _guided(
    found: Read[AdmConfig], path: Path, arguments: Mapping[str, Any], known: Mapping[str, Any]
) -> tuple[AdmConfig, Mapping[str, torch.Tensor]]:
    """The model with its classifier, and the classifier's weights."""
    model = found.model
    if model.small_size:
        raise InputError("--classifier does not go with an upsampler, which is not guided: leave it out")
    contents = read(path)
    if not is_unet_or_classifier(contents):
        raise InputError(f"{path} holds no classifier of noisy images: give --classifier a published one's state dict")
    weights = plain_weights(contents, path)
    if not is_classifier(weights):
        raise InputError(f"{path} is a UNet: give --classifier a classifier, and this by --ckpt")
    try:
        classifier = classifier_of(shapes_of(weights), arguments, known, model.image_size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    _check_classes(model.num_classes or arguments.get("num_classes"), classifier, path)
    return dataclasses.replace(model, classifier=classifier), in_float32(weights, path)


def _check_classes(wanted: int | None, classifier: ClassifierConfig, path: Path) -> None:
    """Refuses another number than the UNet has or, of one without classes, than is stated."""
    if wanted not in (None, classifier.num_classes):
        raise InputError(
            f"{path} knows {classifier.num_classes} classes, and the UNet or --config {wanted}: give the classifier "
            "that was trained on the same"
        )
