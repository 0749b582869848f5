"""The proof: an engine against the reference sampler, on the same noise, gate by gate (`gates`).

The steps of an int8 artifact, and of a process that amplifies errors, are gated one by one, each from the reference's
own state, and x_0 where it arrives on its own. Where a whole image would take too long (`budget`) single steps are all.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.results import Gate, ParityResult, ProbeParity
from ddgan_deploy.engines.base import Engine, Probing
from ddgan_deploy.families.base import Checkpoint, Reference
from ddgan_deploy.families.registry import model_and_sampling
from ddgan_deploy.inputs import Array, Inputs, Knobs, draw, examples, rows
from ddgan_deploy.parity.budget import probes_of, seeds_of, steps_of, takes_too_long
from ddgan_deploy.parity.comparison import Distance, distance
from ddgan_deploy.parity.gates import (
    alone_gate,
    engine_pixel_gate,
    finite_gate,
    probe_gate,
    served_pixel_gate,
    tensor_gate,
    twin_gate,
)
from ddgan_deploy.sampler import Precision, Probe, Sampler

_GATHERED = 10.0
"""By how much wider fp32's limit for x_0 is behind steps that amplify errors: an eighth of a grey level."""


@dataclass(frozen=True)
class Outcome:
    """A parity run.

    Attributes:
        result: the gates.
    """

    result: ParityResult


@dataclass(frozen=True)
class Verification(Outcome):
    """A parity run with the values behind it.

    Attributes:
        probes: what was compared, in running order; the last is x_0.
        reference, engine: their values [N, ...], on the same noise.
        images: of the served graph, uint8 [N, H, W, C].
    """

    probes: tuple[Probe, ...]
    reference: tuple[Array, ...]
    engine: tuple[Array, ...]
    images: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Trial:
    """What gates sample with.

    Attributes:
        seeds: N of them.
        knobs: beside them.
        inputs: of the sampler, from both.
    """

    seeds: tuple[int, ...]
    knobs: Knobs
    inputs: Inputs


def trial(sampler: Sampler, seeds: Sequence[int]) -> Trial:
    """Of these seeds; knobs go through the values that a family wants to be tried, image by image."""
    values = {knob.name: [knob.default, *knob.tried] for knob in sampler.knobs if knob.default is not None}
    knobs = examples(sampler.knobs, seeds) | {name: np.resize(each, len(seeds)) for name, each in values.items()}
    return Trial(tuple(seeds), knobs, draw(sampler, seeds, knobs))


def verify(checkpoint: Checkpoint[Any, Any], engine: Engine, seeds: Sequence[int] | None = None) -> Outcome:
    """Runs every gate; those of inner values, and where one drifts, only on an engine that tells them.

    Args:
        checkpoint: what the artifact should compute.
        engine: the artifact, opened.
        seeds: to sample with; None: what `budget` allows, a few from 0 on, or single steps of one where a whole
            image takes too long.

    Returns:
        A `Verification` where the engine tells inner values and whole images are drawn.
    """
    start = time.perf_counter()
    manifest = engine.artifact.manifest
    tried = trial(manifest.sampler, seeds_of(manifest) if seeds is None else seeds)
    reference = checkpoint.reference(model_and_sampling(manifest.family)[1])
    if seeds is None and isinstance(engine, Probing) and takes_too_long(manifest):
        return Outcome(_timed(_verify_steps(reference, engine, tried), start))
    values = reference_values(reference, tried.inputs)
    if isinstance(engine, Probing):
        verification = _verify_probes(reference, values, engine, tried)
        return dataclasses.replace(verification, result=_timed(verification.result, start))
    result = verify_outputs(values[-1], engine, tried, manifest.precision, manifest.probes)
    return Outcome(_timed(result, start))


def reference_values(reference: Reference, inputs: Inputs) -> tuple[Array, ...]:
    """Of all probes, float32 [N, ...]; the last is x_0."""
    import torch

    tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
    with torch.inference_mode():
        return tuple(value.float().numpy() for value in reference.run(tensors))


def verify_outputs(
    reference_x_0: npt.NDArray[np.float32],
    engine: Engine,
    tried: Trial,
    precision: Precision,
    probes: Sequence[Probe] = (),
) -> ParityResult:
    """Runs the gates that look at the end of the way alone, on any engine.

    Args:
        reference_x_0: [N, C, H, W] of the reference, from the trial's inputs.
        engine: what should compute the same.
        tried: what both sample with.
        precision: of the engine.
        probes: of the artifact, which tell whether errors are amplified on the way.
    """
    start = time.perf_counter()
    images, x_0 = engine.generate(tried.seeds, **tried.knobs), engine.sample(tried.inputs)
    at_end = _at_end(probes, reference_x_0, x_0, precision)
    # Side by side, so that an engine that splits the batch has both in one.
    twins = engine.sample(rows(tried.inputs, [0, 0, *range(1, len(tried.seeds))]))
    gates = (
        finite_gate((reference_x_0,), (x_0,)),
        tensor_gate("x_0 against PyTorch", at_end, precision),
        twin_gate(twins[0], twins[1]),
        *_alone(engine, tried, x_0, at_end.scale, precision),
        engine_pixel_gate(images, x_0, at_end.scale, precision),
    )
    return _timed(ParityResult(engine.name, tried.seeds, gates, 0.0), start)


def _verify_steps(reference: Reference, engine: Any, tried: Trial) -> ParityResult:
    """The gates of single steps, each from the state that the reference leaves the one before it with."""
    import torch

    manifest, inputs = engine.artifact.manifest, tried.inputs
    steps = steps_of(manifest)
    probes = probes_of(manifest, steps)
    tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
    values: list[Array] = []
    before: dict[int, Array] = {}
    for k in steps:
        state = torch.from_numpy(values[-1]) if values else None
        if state is not None:
            before[k - 1] = values[-1]
        with torch.inference_mode():
            values += [value.float().numpy() for value in reference.run(tensors, k, state)]
    states = {probe.node: before[probe.step] for probe in manifest.probes if probe.state and probe.step in before}
    doubled, compared = _probed(engine, tried, probes, values, states)
    gates = (
        *_inner_gates(probes, values, doubled, compared, manifest.precision),
        twin_gate(*(np.concatenate([value[i].ravel() for value in doubled]) for i in (0, -1))),
    )
    return ParityResult(engine.name, tried.seeds, gates, 0.0, tuple(compared))


def _verify_probes(reference: Reference, values: tuple[Array, ...], engine: Any, tried: Trial) -> Verification:
    """The gates of every inner value, and of the file as it is, whose inner values nobody reads."""
    manifest = engine.artifact.manifest
    precision, probes, inputs = manifest.precision, manifest.probes, tried.inputs
    states: Mapping[str, Array] = {}
    if precision == "int8" or _amplifies(probes):
        # What rounds to int8, or amplifies an error, moves a state far enough that the steps after it would show its
        # error rather than their own.
        states = {probe.node: value for probe, value in zip(probes, values, strict=True) if probe.state}
    doubled, compared = _probed(engine, tried, probes, values, states)
    images, x_0 = engine.generate(tried.seeds, **tried.knobs), engine.sample(inputs)
    at_end = _at_end(probes, values[-1], x_0, precision)
    # Of what is handed on and of the end: where these are equal, so is what leads there.
    twins = [value for probe, value in zip(probes, doubled, strict=True) if probe.state] + [doubled[-1]]
    gates = [
        *_inner_gates(probes, values, doubled, compared, precision),
        tensor_gate("x_0 of the file as it is", at_end, precision),
        twin_gate(np.stack([value[0] for value in twins]), np.stack([value[-1] for value in twins])),
        *_alone(engine, tried, x_0, at_end.scale, precision),
        served_pixel_gate(images, x_0, at_end.scale, precision),
    ]
    gates = list(_located(gates, reference, values, engine, inputs))
    result = ParityResult(engine.name, tried.seeds, tuple(gates), 0.0, tuple(compared))
    return Verification(result, probes, values, tuple(value[:-1] for value in doubled), images)


def _probed(
    engine: Any, tried: Trial, probes: Sequence[Probe], values: Sequence[Array], states: Mapping[str, Array]
) -> tuple[list[Array], list[ProbeParity]]:
    """What the engine has for each probe, the first row once more at its end, and how far it is from the reference.

    Args:
        values: the reference's, of the probes.
        states: what steps start from in place of the engine's own, by node.
    """
    # The first seed twice, so that one run also shows whether equal rows stay equal.
    first_again = [*range(len(tried.seeds)), 0]
    given = {node: state[first_again] for node, state in states.items()}
    doubled = engine.probe(rows(tried.inputs, first_again), [probe.node for probe in probes], given)
    paired = zip(probes, values, doubled, strict=True)
    return doubled, [_compared(probe, value, own[:-1]) for probe, value, own in paired]


def _inner_gates(
    probes: Sequence[Probe],
    values: Sequence[Array],
    doubled: Sequence[Array],
    compared: Sequence[ProbeParity],
    precision: Precision,
) -> Iterator[Gate]:
    """Of inner values: that all are finite, and each for itself."""
    yield finite_gate(values, [own[:-1] for own in doubled])
    yield from (probe_gate(probe, row, precision) for probe, row in zip(probes, compared, strict=True))


def _alone(engine: Engine, tried: Trial, x_0: Array, scale: float, precision: Precision) -> Iterator[Gate]:
    """Whether the first of several images is the same without the others; one has been drawn alone already."""
    if len(tried.seeds) > 1:
        yield alone_gate(engine.sample(rows(tried.inputs, [0])), x_0, scale, precision)


def _amplifies(probes: Sequence[Probe]) -> bool:
    """Whether a step makes errors larger before it hands them on."""
    return any(probe.state and probe.scale > 1 for probe in probes)


def _at_end(probes: Sequence[Probe], reference: Array, own: Array, precision: Precision) -> Distance:
    """Of x_0 where it arrives on its own; fp32's limit is wider behind steps that amplify, which have own gates."""
    apart = distance(reference, own)
    if precision == "fp32" and _amplifies(probes):
        return dataclasses.replace(apart, scale=_GATHERED * apart.scale)
    return apart


def _compared(probe: Probe, reference: Array, own: Array) -> ProbeParity:
    apart = distance(reference, own)
    return ProbeParity(probe.place, probe.value, probe.column, probe.step, apart.max_abs, apart.psnr, apart.scale)


def _timed(result: ParityResult, start: float) -> ParityResult:
    return dataclasses.replace(result, seconds=time.perf_counter() - start)


def _located(
    gates: Sequence[Gate], reference: Reference, values: tuple[Array, ...], engine: Any, inputs: Inputs
) -> Iterator[Gate]:
    """Names the op at which the first failed probe drifts, unless what is wrong has its place already."""
    probes: Mapping[str, Probe] = {probe.name: probe for probe in engine.artifact.manifest.probes}
    failed = next((gate for gate in gates if not gate.passed and gate.name in probes), None)
    if failed is None or any(gate.where for gate in gates):
        yield from gates
        return
    from ddgan_deploy.parity.drift import first_drift

    where = first_drift(reference, values, engine, inputs, probes[failed.name])
    yield from (dataclasses.replace(gate, where=where) if gate is failed else gate for gate in gates)
