"""Artifact -> Triton Inference Server model repository, whole in itself: it can be copied or uploaded alone."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.artifact.serving import Serving, check_serving
from ddgan_deploy.export.repository.backends import engine_model
from ddgan_deploy.export.repository.tensors import inputs_of
from ddgan_deploy.serving import ENCODER_MODEL, MODEL, PNG_MODEL
from ddgan_deploy.serving.knobs import knob_parameters

REPOSITORY = "model_repository"
TEMPLATES = Path(__file__).resolve().parents[2] / "triton_repo"
VERSION = "1"

_CONFIG, _SCRIPT, _WARM_UP = "config.pbtxt", "model.py", "warmup"
_QUEUE_DELAY_US = 500
"""How long a request waits for others: clients that were answered together send their next within it."""
_QUEUE_TIMEOUT_US = 30_000_000
_QUEUED_BATCHES = 32
"""Batches that may wait; what comes on top is refused at once."""
_KEPT_FOLDER = "An ensemble has no file of its own, and an object store keeps no empty folder.\n"


def write_model_repository(artifact: Artifact, serving: Serving) -> Path:
    """Writes ``model_repository/`` into an artifact's folder, with copies of the artifact's files.

    Args:
        artifact: written whole but for the repository.
        serving: how it is to be.

    Returns:
        The repository's folder.

    Raises:
        InputError: the options do not fit the artifact.
    """
    check_serving(serving)
    engine = engine_model(artifact, serving)
    sampler = artifact.manifest.sampler
    channels, height, width = sampler.image
    # Only our own engine puts in what a request leaves out, and tells what it drew: the other backends run in the
    # server's own process, and ddgan.onnx gives images alone.
    ours = engine.backend == "python"
    inputs = inputs_of(sampler, may_lack=ours)
    folder = artifact.path / REPOSITORY
    values = {
        "channels": channels,
        "height": height,
        "width": width,
        "precision": artifact.manifest.precision.upper(),
        "queue_delay_us": _QUEUE_DELAY_US,
        "queue_timeout_us": _QUEUE_TIMEOUT_US,
        "queue_size": _QUEUED_BATCHES * engine.max_batch,
        "warmup": sorted({1, engine.max_batch}),
        "inputs": inputs,
        "knob_parameters": knob_parameters(sampler.knobs),
        "echoes": ours,
        **{field.name: getattr(engine, field.name) for field in dataclasses.fields(engine)},
    }
    for name in (MODEL, ENCODER_MODEL, PNG_MODEL):
        _write_config(folder, name, values)
    (folder / PNG_MODEL / VERSION / "README").write_text(_KEPT_FOLDER, encoding="utf-8")
    for name in (*([MODEL] if ours else []), ENCODER_MODEL):
        shutil.copyfile(TEMPLATES / name / VERSION / _SCRIPT, folder / name / VERSION / _SCRIPT)
    _copy_all(engine.files, folder / MODEL / VERSION)
    _copy_all(engine.beside, folder / MODEL)
    (folder / MODEL / _WARM_UP).mkdir()
    for each in inputs:
        (folder / MODEL / _WARM_UP / each.name).write_bytes(each.example)
    return folder


def _write_config(folder: Path, name: str, values: Mapping[str, object]) -> None:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(f"{name}/{_CONFIG}.j2").render(values)
    (folder / name / VERSION).mkdir(parents=True)
    (folder / name / _CONFIG).write_text(text, encoding="utf-8")


def _copy_all(files: Mapping[str, Path | bytes], folder: Path) -> None:
    """Copies, not hard links: ONNX refuses weights that have several names."""
    for name, source in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            target.write_bytes(source)
        else:
            shutil.copyfile(source, target)
