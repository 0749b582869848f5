"""Artifact -> Triton Inference Server model repository, whole in itself: it can be copied or uploaded alone."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.artifact.serving import Serving, check_serving
from ddgan_deploy.export.repository.stages import IMAGE, Drawing, Stage, Step, drawing
from ddgan_deploy.serving import CHECKER_MODEL, ENCODER_MODEL, MODEL, PNG_MODEL
from ddgan_deploy.serving.knobs import knob_parameters

REPOSITORY = "model_repository"
TEMPLATES = Path(__file__).resolve().parents[2] / "triton_repo"
VERSION = "1"
CONFIG = "config.pbtxt"

_SCRIPT, _WARM_UP = "model.py", "warmup"
_QUEUE_DELAY_US = 100
"""How long a lone request waits for others; those that come while images are drawn run together anyway."""
_QUEUE_TIMEOUT_US = 30_000_000
_KEPT_FOLDER = "An ensemble has no file of its own, and an object store keeps no empty folder.\n"
_PNG = '{ name: "png" data_type: TYPE_STRING dims: [ 1 ] }'


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
    manifest = dataclasses.replace(artifact.manifest, serving=serving)
    way = drawing([Artifact(artifact.path, manifest)])
    folder = artifact.path / REPOSITORY
    _write_stage(folder, way.stages[0], "What clients ask for pixels, and what draws")
    _write_png_models(folder, way)
    return folder


def write_cascade(folder: Path, way: Drawing) -> None:
    """Writes the model repository of several artifacts, of which each enlarges what the one before it draws.

    Clients ask it as they ask that of one artifact.

    Args:
        folder: to write into.
        way: how they draw.
    """
    for place, stage in enumerate(way.stages):
        _write_stage(folder, stage, "What enlarges the images of the model before it" if place else "What draws first")
    does = "What hands pixels on: those that were asked for, and no others"
    _write_last(folder, way, CHECKER_MODEL, "checker.py", does, _image(way))
    steps = [*way.steps, way.last(CHECKER_MODEL, IMAGE)]
    _write_ensemble(folder, way, MODEL, steps, "pixels: a seed in, an image out.", _image(way))
    _write_png_models(folder, way)


def _write_stage(folder: Path, stage: Stage, draws: str) -> None:
    """A model that draws, with its files."""
    engine, sampler, model = stage.engine, stage.artifact.manifest.sampler, folder / stage.model
    channels, height, width = sampler.image
    values = {
        "draws": draws,
        "name": stage.model,
        "channels": channels,
        "height": height,
        "width": width,
        "precision": stage.artifact.manifest.precision.upper(),
        "queue_delay_us": _QUEUE_DELAY_US,
        "queue_timeout_us": _QUEUE_TIMEOUT_US,
        "queue_size": stage.artifact.manifest.serving.queue_size,
        "warmup": sorted({1, engine.max_batch}),
        "inputs": stage.inputs,
        "knob_parameters": knob_parameters(sampler.knobs),
        "echoes": stage.tells,
        **{field.name: getattr(engine, field.name) for field in dataclasses.fields(engine)},
    }
    _write_config(model, "drawing", values)
    if stage.tells:
        shutil.copyfile(TEMPLATES / "drawing.py", model / VERSION / _SCRIPT)
    _copy_all(engine.files, model / VERSION)
    _copy_all(engine.beside, model)
    (model / _WARM_UP).mkdir()
    for each in stage.inputs:
        (model / _WARM_UP / each.name).write_bytes(each.example)


def _write_png_models(folder: Path, way: Drawing) -> None:
    _write_last(folder, way, ENCODER_MODEL, "encoder.py", "What encodes: pixels in, a PNG file out.", _PNG)
    steps = [*way.steps, way.last(ENCODER_MODEL, "png")]
    _write_ensemble(folder, way, PNG_MODEL, steps, "PNG files: a seed in, a file out.", _PNG)


def _write_last(folder: Path, way: Drawing, name: str, script: str, does: str, output: str) -> None:
    """A model that is given images and what they were drawn from, before a client gets them."""
    channels, height, width = way.size
    values = {
        "does": does,
        "channels": channels,
        "height": height,
        "width": width,
        "told": way.told,
    }
    _write_config(folder / name, "last", values | _whole(way, name, output))
    shutil.copyfile(TEMPLATES / script, folder / name / VERSION / _SCRIPT)


def _write_ensemble(folder: Path, way: Drawing, name: str, steps: list[Step], wanted: str, output: str) -> None:
    _write_config(folder / name, "ensemble", {"wanted": wanted, "steps": steps} | _whole(way, name, output))
    (folder / name / VERSION / "README").write_text(_KEPT_FOLDER, encoding="utf-8")


def _whole(way: Drawing, name: str, output: str) -> dict[str, Any]:
    """What a model's configuration has that takes what the whole takes."""
    return {
        "name": name,
        "max_batch": way.most,
        "inputs": way.inputs,
        "output": output,
        "knob_parameters": knob_parameters(way.knobs),
    }


def _image(way: Drawing) -> str:
    channels, height, width = way.size
    return f'{{ name: "{IMAGE}" data_type: TYPE_UINT8 dims: [ {height}, {width}, {channels} ] }}'


def _write_config(model: Path, template: str, values: Mapping[str, object]) -> None:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(f"{template}.pbtxt.j2").render(values)
    (model / VERSION).mkdir(parents=True)
    (model / CONFIG).write_text(text, encoding="utf-8")


def _copy_all(files: Mapping[str, Path | bytes], folder: Path) -> None:
    """Copies, not hard links: ONNX refuses weights that have several names."""
    for name, source in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            target.write_bytes(source)
        else:
            shutil.copyfile(source, target)
