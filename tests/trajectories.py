"""The states of a Denoising Diffusion GAN's run, by the reference and by an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.reference import reference
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.parity.verify import reference_values


class Trajectory(NamedTuple):
    """Every state in running order: index k goes with t = T-1-k.

    Attributes:
        x0: the generator's output at each step, float32 [T, N, C, H, W].
        x_prev: the state after each step, float32 [T, N, C, H, W]; the last is x_0.
    """

    x0: np.ndarray
    x_prev: np.ndarray


def published(generator: Generator, schedule: Schedule, inputs: Mapping[str, np.ndarray]) -> Trajectory:
    """By the reference sampler."""
    values = reference_values(reference(generator, schedule), inputs)
    return Trajectory(np.stack(values[0::2]), np.stack(values[1::2]))


def traced(engine: OnnxRuntime, inputs: Mapping[str, np.ndarray], states: np.ndarray | None = None) -> Trajectory:
    """By an engine; from given states [T-1, N, C, H, W], what every step but the first starts from."""
    probes = engine.artifact.manifest.probes
    nodes = [probe.node for probe in probes if probe.state]
    given = None if states is None else dict(zip(nodes, states, strict=True))
    values = engine.probe(inputs, [probe.node for probe in probes], given)
    return Trajectory(np.stack(values[0::2]), np.stack(values[1::2]))
