"""Whether a manifest is of one mind with itself, and with what a graph file says of itself."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ddgan_deploy.artifact.serving import check_serving
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.config import GeneratorConfig

if TYPE_CHECKING:
    from ddgan_deploy.artifact.manifest import GraphInfo, Manifest, TensorInfo

Tensors = dict[str, tuple[str, tuple[int | str, ...]]]
"""Names -> dtypes and shapes."""
COMPARED = ("steps", "precision", "schedule", "generator")
"""Names in a graph file's metadata, as in the manifest."""


def check_consistent(manifest: Manifest, sampler: GraphInfo, served: GraphInfo) -> None:
    """Refuses a manifest that contradicts itself.

    Args:
        manifest: as it was read.
        sampler, served: what it says of the two graphs.

    Raises:
        InputError: steps and schedule, the graphs' inputs and outputs, or the terms of serving do not go together.
    """
    config, steps = manifest.generator, manifest.steps
    if steps != manifest.schedule.steps:
        raise InputError(f"steps {steps}, but its schedule has {manifest.schedule.steps}")
    channels, height, width = config.image_shape
    _check_tensors("sampler input", sampler.inputs, _sampler_inputs(config, steps))
    _check_tensors("sampler output", sampler.outputs, {"x_0": ("float32", ("batch", *config.image_shape))})
    _check_tensors("served input", served.inputs, {"seed": ("int64", ("batch", 1))})
    _check_tensors("served output", served.outputs, {"image": ("uint8", ("batch", height, width, channels))})
    check_serving(manifest.serving)


def misfit(manifest: Manifest, metadata: Mapping[str, str]) -> str:
    """The first thing that the manifest says otherwise than a graph file, or nothing.

    Args:
        manifest: of the graph's folder.
        metadata: of the graph file; what it does not tell is not compared.
    """
    plain = {"steps": str(manifest.steps), "precision": manifest.precision}
    for name, ours in plain.items():
        if (theirs := metadata.get(name, ours)) != ours:
            return f"{name} {ours}, not {theirs}"
    for name, value in (("schedule", manifest.schedule), ("generator", manifest.generator)):
        known = json.loads(json.dumps(dataclasses.asdict(value)))
        # A graph of before may not tell of all fields.
        for field, stated in _fields(metadata.get(name, "{}")).items():
            if field in known and known[field] != stated:
                return f"{name} {field} {json.dumps(known[field])}, not {json.dumps(stated)}"
    return ""


def _sampler_inputs(config: GeneratorConfig, steps: int) -> Tensors:
    inputs: Tensors = {
        "x_T": ("float32", ("batch", *config.image_shape)),
        "z": ("float32", ("batch", steps, config.nz)),
    }
    # The last step adds no noise.
    return inputs | ({"noise": ("float32", ("batch", steps - 1, *config.image_shape))} if steps > 1 else {})


def _check_tensors(kind: str, infos: tuple[TensorInfo, ...], expected: Tensors) -> None:
    found = {info.name: (info.dtype, info.shape) for info in infos}
    for name in [*expected, *found]:
        ours, theirs = found.get(name), expected.get(name)
        if ours != theirs:
            raise InputError(f"{kind} {name} is {_described(ours)}, not {_described(theirs)}")


def _described(tensor: tuple[str, tuple[int | str, ...]] | None) -> str:
    if tensor is None:
        return "absent"
    dtype, shape = tensor
    return f"{dtype} [{', '.join(map(str, shape))}]"


def _fields(text: str) -> dict[str, Any]:
    """A JSON object, or none where the text is not one."""
    try:
        fields = json.loads(text)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
