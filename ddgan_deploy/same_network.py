"""The checkpoint of an artifact that exists: of its architecture and its schedule, or refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ddgan_deploy.artifact import Artifact
from ddgan_deploy.checkpoint import SCHEDULE_FIELDS, Checkpoint, load_checkpoint
from ddgan_deploy.errors import InputError
from ddgan_deploy.weight_files.kinds import Weights, asked_again


def load_same(
    artifact: Artifact, path: Path, config: Path | None, weights: Weights | None, otherwise: str
) -> Checkpoint:
    """Reads a checkpoint of the network that an artifact has.

    Args:
        artifact: tells what neither the weights nor the config do.
        path: a checkpoint file.
        config: the training script's arguments, as for an export.
        weights: of a training state; None: as at the export.
        otherwise: what to do where it is another network, for the error.

    Raises:
        InputError: the file cannot be read, or is of another architecture, schedule or number of steps.
    """
    manifest = artifact.manifest
    architecture = dataclasses.asdict(manifest.generator)
    known = architecture | {name: getattr(manifest.schedule, name) for name in SCHEDULE_FIELDS}
    checkpoint = load_checkpoint(path, config, weights or asked_again(manifest.checkpoint.weights), known)
    for name in architecture:
        old, new = getattr(manifest.generator, name), getattr(checkpoint.config, name)
        if old != new:
            raise InputError(
                f"{path} has another architecture than {artifact.path} ({name} {new}, not {old}): {otherwise}"
            )
    schedule = checkpoint.schedule(manifest.steps)
    for name in SCHEDULE_FIELDS:
        old, new = getattr(manifest.schedule, name), getattr(schedule, name)
        if old != new:
            raise InputError(f"{path} has another schedule than {artifact.path} ({name} {new}, not {old}): {otherwise}")
    # What was stated at the export still is.
    stated = {*known, "num_timesteps"} - {assumed.name for assumed in manifest.assumed}
    return dataclasses.replace(checkpoint, stated=stated.union(checkpoint.stated))
