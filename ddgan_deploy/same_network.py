"""The checkpoint of an artifact that exists: of its architecture and its sampling, or refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.base import Checkpoint
from ddgan_deploy.families.registry import model_and_sampling, told_by
from ddgan_deploy.weight_files.kinds import Weights, asked_again


def load_same(
    artifact: Artifact,
    path: Path,
    config: Path | None,
    weights: Weights | None,
    otherwise: str,
    asked: Mapping[str, Any] | None = None,
) -> Checkpoint[Any, Any]:
    """Reads a checkpoint of the network that an artifact has.

    Args:
        artifact: tells what neither the weights nor the config do.
        path: a checkpoint file.
        config: the training script's arguments, as for an export.
        weights: of a training state; None: as at the export.
        otherwise: what to do where it is another network, for the error.
        asked: what the user asks of its family alone, as for an export.

    Raises:
        InputError: the file cannot be read, or is of another family, architecture, sampling or number of steps.
    """
    manifest = artifact.manifest
    info = manifest.family
    model, sampling = model_and_sampling(info)
    known, guessed = told_by(model, sampling), [assumed.name for assumed in manifest.assumed]
    kind = weights or asked_again(manifest.checkpoint.weights)
    checkpoint = load_checkpoint(path, config, kind, known, guessed, asked)
    who, fix = str(path), otherwise
    if config is not None:
        who, fix = f"{path} with {config}", f"correct or leave out --config, or {otherwise}"
    if checkpoint.family.name != info.name:
        raise InputError(f"{who} is {checkpoint.family.title}, {artifact.path} is not: {fix}")

    def refuse_other(kind: str, old: Any, new: Any) -> None:
        for name in (field.name for field in dataclasses.fields(old)):
            was, now = getattr(old, name), getattr(new, name)
            if was != now:
                raise InputError(f"{who} has another {kind} than {artifact.path} ({name} {now}, not {was}): {fix}")

    refuse_other("architecture", model, checkpoint.model)
    trained = checkpoint.trained_steps
    if trained is not None and trained != manifest.steps:
        raise InputError(f"{who} was trained for {trained} steps, {artifact.path} has {manifest.steps}: {fix}")
    refuse_other("sampling", sampling, checkpoint.choose(manifest.steps))
    return checkpoint
