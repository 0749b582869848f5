"""Where in a step an engine leaves the reference: the first normalization that differs.

Every few ops of the network end in a normalization, which brings its output to
order one whatever the weights: the error there is comparable along the network.
"""

from __future__ import annotations

import numpy as np
import torch

from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime
from ddgan_deploy.families.ddgan.blocks import AdaGN, GroupNorm
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.schedule import Trajectory
from ddgan_deploy.noise import Noise

TOLERANCE = 0.02
"""Drift: a difference over this share of the reference's largest value."""
INT8_TOLERANCE = 0.1
"""That of int8, whose levels are a hundredth of the largest value apart, layer by layer."""


def first_drift(generator: Generator, engine: OnnxRuntime, noise: Noise, reference: Trajectory, step: int) -> str:
    """The name of the first node of a step whose output drifts.

    Args:
        generator: the reference.
        engine: what drifted.
        noise: that both sampled with.
        reference: the reference's trajectory.
        step: k of the step that failed.
    """
    one = Noise(noise.x_T[:1], noise.z[:1], noise.noise[:1])
    x = torch.from_numpy(one.x_T if step == 0 else reference.x_prev[step - 1, :1])
    expected = _norm_outputs(
        generator, x, torch.tensor([len(reference.x0) - 1 - step]), torch.from_numpy(one.z[:, step])
    )
    prefix = f"step{step}/"
    nodes = {
        node.name.removeprefix(prefix): node.output[0]
        for node in engine.graph.node
        if node.op_type == "AdaGN" and node.name.startswith(prefix)
    }
    shared = [path for path in expected if path in nodes]
    values = engine.inner_values(one, [nodes[path] for path in shared])
    tolerance = INT8_TOLERANCE if engine.artifact.manifest.precision == "int8" else TOLERANCE
    before = "the step's input"
    for path, got in zip(shared, values, strict=True):
        want = expected[path]
        error = np.abs(want - got).max() / max(float(np.abs(want).max()), 1e-6)
        if not error <= tolerance:
            return f"{prefix}{path}, or the layers between {before} and it"
        before = f"{prefix}{path}"
    return f"{prefix}PosteriorSample or the layers after {before}"


def _norm_outputs(generator: Generator, x: torch.Tensor, t: torch.Tensor, z: torch.Tensor) -> dict[str, np.ndarray]:
    """Outputs of all normalizations of one step, by module path, in the order in which they run."""
    outputs: dict[str, np.ndarray] = {}

    def record(path: str, value: torch.Tensor) -> None:
        outputs[path] = value.numpy()

    handles = [
        module.register_forward_hook(lambda _m, _i, out, path=path: record(path, out))
        for path, module in generator.named_modules()
        if isinstance(module, (AdaGN, GroupNorm))
    ]
    try:
        with torch.no_grad():
            generator(x, t, z)
    finally:
        for handle in handles:
            handle.remove()
    return outputs
