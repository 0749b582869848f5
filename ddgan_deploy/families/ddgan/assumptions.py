"""What neither a checkpoint nor a config tells about a generator, and is assumed."""

from __future__ import annotations

import json
from collections.abc import Collection

from ddgan_deploy.artifact.assumptions import Assumed
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.schedule import Schedule

_PUBLISHED = "the published default"
_RGBA = 4


def assumptions(config: GeneratorConfig, schedule: Schedule, stated: Collection[str]) -> tuple[Assumed, ...]:
    """What was assumed of a network, by the order in which it matters.

    Args:
        config: the architecture, of which weights do not tell all.
        schedule: of the diffusion process.
        stated: names of the training arguments that a config or the checkpoint itself states.
    """
    found = []
    if not {"image_size", "attn_resolutions"} & set(stated):
        resolutions = " and ".join(map(str, config.attn_resolutions))
        source = f"attention is taken to sit at resolution {resolutions}, as published"
        found.append(Assumed("image_size", json.dumps(config.image_size), source))
    if config.num_channels == _RGBA and "num_channels" not in stated:
        source = "four channels are taken for red, green, blue and alpha"
        found.append(Assumed("num_channels", json.dumps(_RGBA), source))
    if "num_timesteps" not in stated:
        found.append(Assumed("num_timesteps", json.dumps(schedule.steps), "as --steps says"))
    process = ("beta_min", "beta_max", "use_geometric") if schedule.steps > 1 else ()
    found += [_default(name, getattr(schedule, name)) for name in process if name not in stated]
    found += [_default(name, getattr(config, name)) for name in _untold(config) if name not in stated]
    return tuple(found)


def _untold(config: GeneratorConfig) -> list[str]:
    """The arguments of an architecture that leave no trace in names and shapes."""
    resamples = config.levels > 1
    told = resamples and config.progressive_input == "residual"
    return [
        "not_use_tanh",
        "centered",
        "skip_rescale",
        *(["fir"] if resamples and not told else []),
        *(["fir_kernel"] if resamples and config.fir else []),
    ]


def _default(name: str, value: object) -> Assumed:
    return Assumed(name, json.dumps(value), _PUBLISHED)
