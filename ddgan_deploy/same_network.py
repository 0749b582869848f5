"""The checkpoint of an artifact that exists: of its architecture and its schedule, or refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ddgan_deploy.artifact.manifest import Artifact
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
    who, fix = str(path), otherwise
    if config is not None:
        who, fix = f"{path} with {config}", f"correct or leave out --config, or {otherwise}"

    def refuse_other(kind: str, old: object, new: object, names: Sequence[str]) -> None:
        for name in names:
            was, now = getattr(old, name), getattr(new, name)
            if was != now:
                raise InputError(f"{who} has another {kind} than {artifact.path} ({name} {now}, not {was}): {fix}")

    refuse_other("architecture", manifest.generator, checkpoint.config, tuple(architecture))
    trained = checkpoint.trained_steps
    if trained is not None and trained != manifest.steps:
        raise InputError(f"{who} was trained for {trained} steps, {artifact.path} has {manifest.steps}: {fix}")
    refuse_other("schedule", manifest.schedule, checkpoint.schedule(manifest.steps), SCHEDULE_FIELDS)
    # What was stated at the export still is; the image size had been told from where attention was taken to sit.
    assumed = {assumed.name for assumed in manifest.assumed}
    stated = {*known, "num_timesteps"} - assumed - ({"attn_resolutions"} if "image_size" in assumed else set())
    return dataclasses.replace(checkpoint, stated=stated.union(checkpoint.stated))
