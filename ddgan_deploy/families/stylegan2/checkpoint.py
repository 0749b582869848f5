"""A snapshot's contents -> a trained StyleGAN2 generator, and how it is sampled from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan_deploy.artifact.assumptions import Assumed
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.base import Checkpoint, Family, Given
from ddgan_deploy.families.stylegan2.arguments import read_arguments
from ddgan_deploy.families.stylegan2.config import FARTHEST, Sampling, StyleGan2Config
from ddgan_deploy.families.stylegan2.snapshot import generator_of, source_texts
from ddgan_deploy.families.stylegan2.sources import compared
from ddgan_deploy.files import sha256
from ddgan_deploy.weight_files.objects import AVERAGED
from ddgan_deploy.weight_files.tensors import as_float32, checked_tensors

if TYPE_CHECKING:
    from ddgan_deploy.families.stylegan2.reference import StyleGan2Reference
    from ddgan_deploy.weight_files.objects import Saved


@dataclass(frozen=True)
class StyleGan2Checkpoint(Checkpoint[StyleGan2Config, Sampling]):
    """A trained generator; weights have their published names.

    Attributes:
        asked: fields of `Sampling` that were asked for.
        source: what is not known of the text that the snapshot carries; "" where it is the published one.
    """

    asked: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def trained_steps(self) -> int | None:
        """One pass makes an image."""
        return 1

    def choose(self, steps: int | None = None) -> Sampling:
        """How images are drawn.

        Raises:
            InputError: more than one step, truncation out of range or without a mean, or a cutoff that is no layer's.
        """
        if steps not in (None, 1):
            raise InputError(f"--steps {steps} does not go with {self.path}, which draws an image in 1: leave it out")
        sampling = Sampling(**self.asked)
        cutoff, last = sampling.truncation_cutoff, self.model.num_ws
        if cutoff is not None and not 0 <= cutoff <= last:
            raise InputError(f"--truncation-cutoff {cutoff} is out of range: give 0..{last}, of so many layers")
        if not self.model.has_mean and (sampling.truncation, cutoff) != (1.0, None):
            raise InputError(f"{self.path} has no mean of w, so that nothing can be truncated: leave --truncation out")
        if not self.model.use_noise and sampling.noise != "none" and "noise" in self.asked:
            raise InputError(f"{self.path} was trained without noise: leave --noise out")
        return sampling

    def assumed(self, sampling: Sampling) -> tuple[Assumed, ...]:
        """Whether the network computes what its layers' names say, where the snapshot does not tell."""
        remedy = "a snapshot as the published training code writes it, with its source text"
        return (Assumed("source", "as published", self.source, remedy),) if self.source else ()

    def reference(self, sampling: Sampling) -> StyleGan2Reference:
        """The reference sampler."""
        from ddgan_deploy.families.stylegan2.reference import reference

        return reference(self.model, self.weights, sampling)


def read_checkpoint(family: Family, contents: dict[str, Any], path: Path, given: Given) -> StyleGan2Checkpoint:
    """As `families.base.Family.read`."""
    root: Saved = contents[AVERAGED]
    if given.weights != "ema":
        raise InputError(
            f"--weights {given.weights} does not go with {path}, of which {AVERAGED} is taken: leave it out"
        )
    try:
        model, tensors = generator_of(root)
        source = _checked_source(root, bool(given.asked.get("trust_source")))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    stored = checked_tensors(tensors, path)
    weights = {name: as_float32(tensor, name, path) for name, tensor in stored.items()}
    asked = _asked(given)
    return StyleGan2Checkpoint(family, path, sha256(path), model, weights, "ema", (), asked, source)


def _checked_source(root: Saved, trusted: bool) -> str:
    """What is to be said of the source text that a snapshot carries.

    Raises:
        InputError: it differs from the published one, and is not trusted.
    """
    found = compared(source_texts(root))
    if found.differing:
        names = ", ".join(found.differing)
        if not trusted:
            raise InputError(
                f"its source text defines {names} in another way than the published code, so that it may compute "
                "something else: where you know that it does not, give --trust-source"
            )
        return f"its source text defines {names} in another way, and is trusted"
    return "the snapshot carries no source text that could be compared" if found.missing else ""


def _asked(given: Given) -> dict[str, Any]:
    """Fields of `Sampling`: from the command line, else from the config, else as they are known."""
    names = {each.name for each in dataclasses.fields(Sampling)} - {"steps"}
    told = {} if given.config is None else read_arguments(given.config)
    found = {name: value for name, value in {**given.known, **told, **given.asked}.items() if name in names}
    truncation = found.get("truncation", 1.0)
    # Also false for NaN.
    if not -FARTHEST <= truncation <= FARTHEST:
        name = "--truncation" if "truncation" in given.asked else f"{given.config}: truncation_psi"
        raise InputError(f"{name} {truncation:g} is out of range: give a number in {-FARTHEST:g}..{FARTHEST:g}")
    return found
