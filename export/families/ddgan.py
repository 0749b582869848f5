"""A Denoising Diffusion GAN's sampler as one graph.

The conditioning runs once for all steps: time is constant at each step, so the time path becomes one bias a block and
step, and the mapping network and all style layers are one product over the T * batch latents.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from ddgan_deploy.export.graph.rewrites.shortcut_upsampling import hoist_shortcuts
from ddgan_deploy.export.graph.rewrites.time_bias import fold_time_biases
from ddgan_deploy.export.graph.rewriting import Rewrite, rewrite_all
from ddgan_deploy.export.graph.steps import SamplerBuilder, Step
from ddgan_deploy.export.graph.trace import trace
from ddgan_deploy.export.loop_choice import LoopChoice
from ddgan_deploy.families.ddgan.blocks import Conditioning, Style
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.reference import DdganReference
from ddgan_deploy.families.ddgan.schedule import Float32, Schedule
from ddgan_deploy.kernels.reverse_step.spec import Coefficients
from ddgan_deploy.sampler import Sampler

_LATENT_STATISTICS = "z_transform.0"
"""The layer that normalizes the latent."""


def _up_blocks(generator: Generator) -> int:
    return generator.config.levels - 1


def _time_bias_count(generator: Generator) -> int:
    return len(generator.blocks) if generator.config.conditional else 0


ONE_STEP = (Rewrite("shortcut_upsampling", hoist_shortcuts, _up_blocks),)
"""On the graph of one step, before it is copied, so that rewritten weights are stored once."""
ALL_STEPS = (Rewrite("time_bias", fold_time_biases, _time_bias_count),)
"""On the graph of T copies, where the time is constant; in a Loop it is not."""


@dataclass(frozen=True)
class Traced:
    """A generator as two ONNX graphs.

    Attributes:
        step: inputs ``x`` [batch, C, H, W], then the time biases, then all scales and all shifts [batch, C] of its
            AdaGNs; output x_0 before the last activation.
        latent: input ``z`` [batch, T, nz]; output the scales and shifts of one step side
            by side, [batch, T, width].
        style_widths: width of each piece of that output, in the order scale_0, shift_0, scale_1, ...
    """

    step: ir.Model
    latent: ir.Model
    style_widths: tuple[int, ...]


class DdganGraphs:
    """See `export.families.base.GraphFamily`."""

    rewrites = (*ONE_STEP, *ALL_STEPS)

    def build(
        self,
        reference: DdganReference,
        sampler: Sampler,
        without: Collection[str] = (),
        loop: LoopChoice = "auto",
    ) -> ir.Model:
        """The T-step sampler: ``x_T``, ``z`` and, from two steps on, ``noise`` -> ``x_0``."""
        generator, schedule = reference.generator, reference.schedule
        traced = trace_generator(generator)
        rewrite_all(ONE_STEP, traced.step.graph, generator, without=without)
        build = SamplerBuilder(sampler, loop)
        model = build.model(state_steps(build, traced, reference))
        if not build.looped:
            rewrite_all(ALL_STEPS, model.graph, generator, schedule.steps, without)
        return model


GRAPHS = DdganGraphs()


def state_steps(build: SamplerBuilder, traced: Traced, reference: DdganReference) -> ir.Value:
    """x_0 of a traced generator, before what is rewritten in all copies together."""
    generator = reference.generator
    (styles,) = build.copy(traced.latent.graph, [build.inputs["z"]], float32=(_LATENT_STATISTICS,))
    time_biases, coefficients = _time_biases(reference), _coefficients(reference.schedule)
    squash = "Tanh" if generator.squash == "tanh" else "Identity"

    def body(x: ir.Value, step: Step) -> ir.Value:
        inputs = [x, *step.rows("time_bias", time_biases)]
        pieces = step.split(step.pick(styles, "style"), traced.style_widths, name="styles")
        (raw,) = step.copy(traced.step.graph, [*inputs, *pieces[0::2], *pieces[1::2]])
        x_0 = step.op(squash, [raw], name="x0", float32=True)
        # Equation 4; the last row leaves x_0 as it is.
        row = step.row("coefficients", coefficients, float32=True)
        return step.reverse(x_0, x, row, step.draw("noise"))

    return build.steps(build.inputs["x_T"], body)


def trace_generator(generator: Generator) -> Traced:
    """Traces a generator in evaluation mode."""
    config = generator.config
    z = torch.zeros(2, config.nz)
    with torch.no_grad():
        biases = [bias[:1] for bias in generator.time_biases(torch.zeros(1, dtype=torch.int64))]
        styles = generator.styles(z)
    batch, steps = torch.export.Dim("batch"), torch.export.Dim("steps")
    step = trace(
        _Step(generator),
        (torch.zeros(2, *config.image_shape), biases, *map(list, zip(*styles, strict=True))),
        ({0: batch}, [{} for _ in biases], [{0: batch} for _ in styles], [{0: batch} for _ in styles]),
        within="generator.",
    )
    latent = trace(_Latent(generator), (torch.zeros(2, 3, config.nz),), ({0: batch, 1: steps},))
    widths = tuple(layer.out_features // 2 for layer in generator.style_layers for _ in range(2))
    return Traced(step, latent, widths)


class _Step(nn.Module):
    """`Generator.denoise` with its conditioning as flat lists."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(
        self,
        x: torch.Tensor,
        time_bias: list[torch.Tensor],
        scale: list[torch.Tensor],
        shift: list[torch.Tensor],
    ) -> torch.Tensor:
        styles = [Style(*pair) for pair in zip(scale, shift, strict=True)]
        return self.generator.denoise(x, Conditioning(time_bias, styles))


class _Latent(nn.Module):
    """The mapping network, and all style layers as one product."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.z_transform = generator.z_transform
        layers = generator.style_layers
        self.style = nn.Linear(generator.config.z_emb_dim, sum(layer.out_features for layer in layers), device="meta")
        self.style.weight = nn.Parameter(torch.cat([layer.weight for layer in layers]))
        self.style.bias = nn.Parameter(torch.cat([layer.bias for layer in layers]))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.style(self.z_transform(z))
        return y


def _time_biases(reference: DdganReference) -> list[Float32]:
    """Of every block, [T, 1, C, 1, 1] in running order; see `Generator.time_biases`."""
    steps = reversed(range(reference.schedule.steps))
    with torch.no_grad():
        of_steps = [reference.generator.time_biases(torch.tensor([t])) for t in steps]
    return [np.stack([bias.numpy() for bias in of_block]) for of_block in zip(*of_steps, strict=True)]


def _coefficients(schedule: Schedule) -> Float32:
    """Of ReverseStep, [T, 7] in running order."""
    found = [Coefficients()]
    for t in range(1, schedule.steps):
        coef_x0, coef_xt, sigma = schedule.posterior.at(t)
        found.append(Coefficients(c0=coef_x0, ct=coef_xt, s=sigma))
    return np.array(found[::-1], np.float32)
