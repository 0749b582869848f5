"""Whether a manifest is of one mind with itself, and with what a graph file says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ddgan_deploy.artifact.manifest import GraphInfo, Manifest, TensorInfo
from ddgan_deploy.artifact.serving import check_serving
from ddgan_deploy.errors import InputError

Tensors = dict[str, tuple[str, tuple[int | str, ...]]]
"""Names -> dtypes and shapes."""
COMPARED = ("steps", "precision", "family", "model", "sampling", "generator", "schedule")
"""Names in a graph file's metadata; the last two as of format 1."""


def check_consistent(manifest: Manifest, sampler: GraphInfo, served: GraphInfo) -> None:
    """Refuses a manifest that contradicts itself.

    Args:
        manifest: as it was read.
        sampler, served: what it says of the two graphs.

    Raises:
        InputError: steps and sampler, the graphs' inputs and outputs, or the terms of serving do not go together.
    """
    told = manifest.sampler
    if manifest.steps != told.steps:
        raise InputError(f"steps {manifest.steps}, but its sampler has {told.steps}")
    if (chosen := manifest.family.sampling.get("steps", told.steps)) != told.steps:
        raise InputError(f"steps {manifest.steps}, but its sampling has {chosen}")
    if not manifest.probes or manifest.probes[-1].node != "x_0":
        raise InputError("its probes do not end in x_0")
    channels, height, width = told.image
    _check_tensors("sampler input", sampler.inputs, _batched(told.inputs()))
    _check_tensors("sampler output", sampler.outputs, {"x_0": ("float32", ("batch", *told.image))})
    _check_tensors("served input", served.inputs, _batched(told.served_inputs()))
    _check_tensors("served output", served.outputs, {"image": ("uint8", ("batch", height, width, channels))})
    check_serving(manifest.serving)


def misfit(manifest: Manifest, metadata: Mapping[str, str]) -> str:
    """The first thing that the manifest says otherwise than a graph file, or nothing.

    Args:
        manifest: of the graph's folder.
        metadata: of the graph file; what it does not tell is not compared.
    """
    family = manifest.family
    plain = {"steps": str(manifest.steps), "precision": manifest.precision, "family": family.name}
    for name, ours in plain.items():
        if (theirs := metadata.get(name, ours)) != ours:
            return f"{name} {ours}, not {theirs}"
    ways = {"model": family.model, "sampling": family.sampling, "generator": family.model, "schedule": family.sampling}
    for name, value in ways.items():
        known = json.loads(json.dumps(dict(value)))
        # A graph of before may not tell of all fields.
        for field, stated in _fields(metadata.get(name, "{}")).items():
            if field in known and known[field] != stated:
                return f"{name} {field} {json.dumps(known[field])}, not {json.dumps(stated)}"
    return ""


def _batched(inputs: Mapping[str, tuple[str, tuple[int, ...]]]) -> Tensors:
    return {name: (dtype, ("batch", *shape)) for name, (dtype, shape) in inputs.items()}


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
