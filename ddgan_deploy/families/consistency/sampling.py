"""What --steps, a config and an artifact say of sampling -> onestep, or multistep with its indices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.consistency.config import ConsistencySampling
from ddgan_deploy.names import short

Arguments = Mapping[str, Any]
_TOLD = ("training_mode", "sigma_min", "sigma_max", "clip_denoised")
"""Fields that are called as the published arguments are."""
_FIX = "correct --config, or leave the flag out"


def choose(steps: int | None, arguments: Arguments, known: Arguments) -> ConsistencySampling:
    """How the model is sampled from.

    Args:
        steps: T; None: as the config says, else 1.
        arguments: that a config states.
        known: fields of `ConsistencySampling` that hold where nothing else is said.

    Raises:
        InputError: two of them contradict each other, or nothing tells the levels of several steps.
    """
    told = {name: value for name, value in {**known, **arguments}.items() if name in _TOLD}
    ts, levels = _indices(steps, arguments, known)
    return ConsistencySampling(max(1, len(ts) - 1), ts, levels, **told)


def _indices(steps: int | None, arguments: Arguments, known: Arguments) -> tuple[tuple[int, ...], int]:
    """Those of multistep sampling, and of how many levels; none for onestep."""
    if steps is not None and steps < 1:
        raise InputError(f"--steps {steps} is out of range: give 1, or as many as ts of --config makes")
    sampler, ts, levels = (arguments.get(name) for name in ("sampler", "ts", "steps"))
    if sampler == "onestep":
        if steps not in (None, 1):
            raise InputError(f"--steps {steps} contradicts the config's sampler onestep: {_FIX}")
        return (), 0
    if not ts and known.get("ts") and steps in (None, known["steps"]):
        ts, levels = tuple(known["ts"]), levels or known["levels"]
    if ts:
        if levels is None:
            raise InputError(f"ts {_shown(ts)} are indices of levels: give --config how many there are, as steps")
        if steps not in (None, len(ts) - 1):
            raise InputError(f"--steps {steps} contradicts ts {_shown(ts)}, which makes {len(ts) - 1}: {_FIX}")
        return ts, levels
    if sampler == "multistep" or steps not in (None, 1):
        asked = "sampler multistep" if steps is None else f"--steps {steps}"
        raise InputError(
            f"{asked} needs to know the levels: give --config a JSON file with ts and steps, such as "
            '{"ts": "0,22,39", "steps": 40} for 2, or sample in 1'
        )
    return (), 0


def _shown(ts: tuple[int, ...]) -> str:
    return short(",".join(map(str, ts)))
