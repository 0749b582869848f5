"""What flags, a config, an artifact and a published network say of sampling -> one process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.adm.config import AdmSampling
from ddgan_deploy.families.adm.schedule import LEAST_STEPS, kept_timesteps, process
from ddgan_deploy.names import short

Arguments = Mapping[str, Any]
_FIELDS = {each.name for each in dataclasses.fields(AdmSampling)}
_FIX = "correct --config, or leave the flag out"


def choose(steps: int | None, asked: Arguments, arguments: Arguments, known: Arguments, guided: bool) -> AdmSampling:
    """The process of T respaced steps.

    Args:
        steps: T; None: as many as the config keeps.
        asked: of `flags.AdmFlags`.
        arguments: that a config states.
        known: fields of `AdmSampling` that hold where nothing else is said.
        guided: whether there is a classifier.

    Raises:
        InputError: two of them contradict each other, nothing tells how many steps there are, or there is no such
            process.
    """
    found = {name: value for name, value in {**known, **arguments}.items() if name in _FIELDS}
    found |= _said("sampler", "use_ddim", asked, arguments, lambda on: "ddim" if on else "ddpm")
    if guided:
        found |= _said("guidance", "classifier_scale", asked, arguments, lambda scale: scale)
    trained = found.get("diffusion_steps", 1000)
    text = arguments.get("timestep_respacing") or _known_respacing(steps, known)
    if text:
        kept = len(kept_timesteps(trained, text))
        if steps not in (None, kept):
            raise InputError(
                f"--steps {steps} contradicts timestep_respacing {short(text)}, which keeps {kept}: {_FIX}"
            )
        steps = kept
    elif steps is None:
        raise InputError(f"nothing tells in how many steps to sample: give --steps T, {LEAST_STEPS}..{trained}")
    else:
        text = _respacing(steps, trained, found.get("sampler", "ddpm"))
    sampling = AdmSampling(**{**found, "steps": steps, "timestep_respacing": text})
    process(sampling)
    return sampling


def _known_respacing(steps: int | None, known: Arguments) -> str:
    """Of an artifact of the same network, where it has as many steps; "": nothing is known."""
    text: str = known.get("timestep_respacing", "")
    return text if steps in (None, known.get("steps")) else ""


def _respacing(steps: int, trained: int, sampler: str) -> str:
    """As published: DDIM strides evenly from 0 on, DDPM from the first step to the last."""
    if not LEAST_STEPS <= steps <= trained:
        raise InputError(
            f"--steps {steps} is out of range: give {LEAST_STEPS}..{trained}, the steps it was trained for"
        )
    if steps == trained:
        return ""
    return f"ddim{steps}" if sampler == "ddim" else str(steps)


def _said(
    flag: str, published: str, asked: Arguments, arguments: Arguments, meaning: Callable[[Any], Any]
) -> Arguments:
    """What a flag says, else the config under its published name, whose values have the given meaning."""
    stated = {flag: meaning(arguments[published])} if published in arguments else {}
    said = {flag: asked[flag]} if flag in asked else stated
    if stated and said != stated:
        raise InputError(
            f"--{flag} {asked[flag]} contradicts the config's {published} {str(arguments[published]).lower()}: {_FIX}"
        )
    return said
