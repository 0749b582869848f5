"""Where an engine leaves the reference: the first of the family's landmarks that differs.

Landmarks are modules whose outputs are of order one whatever the weights, such as normalizations: the error there is
comparable along the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ddgan_deploy.engines.base import Engine, Probing
from ddgan_deploy.families.base import Reference
from ddgan_deploy.inputs import Array, Inputs, rows
from ddgan_deploy.sampler import Probe

TOLERANCE = 0.02
"""Drift: a difference over this share of the reference's largest value."""
INT8_TOLERANCE = 0.1
"""That of int8, whose levels are a hundredth of the largest value apart, layer by layer."""


def first_drift(reference: Reference, values: Sequence[Array], engine: Engine, inputs: Inputs, failed: Probe) -> str:
    """The name of the first node whose output drifts.

    Args:
        reference: the sampler in PyTorch.
        values: of all probes, by the reference.
        engine: what drifted; it tells inner values.
        inputs: that both sampled with.
        failed: the probe whose gate failed; of its step, where it has one, the landmarks are compared.
    """
    assert isinstance(engine, Probing)
    manifest = engine.artifact.manifest
    one = rows(inputs, [0])
    before = [value for probe, value in zip(manifest.probes, values, strict=True) if _ends_before(probe, failed)]
    expected = _landmark_outputs(reference, one, failed.step, before[-1][:1] if before else None)
    prefix = "" if failed.step is None else f"step{failed.step}/"
    names = set(engine.nodes)
    shared = [path for path in expected if f"{prefix}{path}" in names]
    found = engine.probe(one, [f"{prefix}{path}" for path in shared])
    tolerance = INT8_TOLERANCE if manifest.precision == "int8" else TOLERANCE
    good = "the step's input" if failed.step is not None else "the input"
    for path, got in zip(shared, found, strict=True):
        want = expected[path]
        error = np.abs(want - got).max() / max(float(np.abs(want).max()), 1e-6)
        if not error <= tolerance:
            return f"{prefix}{path}, or the layers between {good} and it"
        good = f"{prefix}{path}"
    return f"{failed.node} or the layers after {good}"


def _ends_before(probe: Probe, failed: Probe) -> bool:
    return probe.state and probe.step is not None and failed.step is not None and probe.step < failed.step


def _landmark_outputs(
    reference: Reference, inputs: Inputs, step: int | None, state: Array | None
) -> dict[str, np.ndarray[Any, Any]]:
    """Outputs of all landmarks of one step, by module path, in the order in which they run."""
    outputs: dict[str, np.ndarray[Any, Any]] = {}

    def record(path: str, value: torch.Tensor) -> None:
        outputs[path] = value.float().numpy()

    handles = [
        module.register_forward_hook(lambda _m, _i, out, path=path: record(path, out))
        for path, module in reference.modules()
        if isinstance(module, reference.landmarks)
    ]
    tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
    try:
        with torch.no_grad():
            for _ in reference.run(tensors, step, None if state is None else torch.from_numpy(state)):
                pass
    finally:
        for handle in handles:
            handle.remove()
    return outputs
