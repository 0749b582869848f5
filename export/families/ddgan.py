"""A Denoising Diffusion GAN's sampler as one graph.

The conditioning runs once for all steps: time is constant at each step, so the time path becomes one bias a block and
step, and the mapping network and all style layers are one product over the T * batch latents.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from ddgan_deploy.export.graph.builder import GraphBuilder, SamplerBuilder
from ddgan_deploy.export.graph.rewrites.shortcut_upsampling import hoist_shortcuts
from ddgan_deploy.export.graph.rewrites.time_bias import fold_time_biases
from ddgan_deploy.export.graph.rewriting import Rewrite, rewrite_all
from ddgan_deploy.export.graph.trace import trace
from ddgan_deploy.families.ddgan.blocks import Conditioning, Style
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.reference import DdganReference
from ddgan_deploy.kernels.reverse_step.spec import STEP, Coefficients
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
"""On the unrolled graph, where the time is constant."""


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

    def build(self, reference: DdganReference, sampler: Sampler, without: Collection[str] = ()) -> ir.Model:
        """The T-step sampler: ``x_T``, ``z`` and, from two steps on, ``noise`` -> ``x_0``."""
        generator, schedule = reference.generator, reference.schedule
        traced = trace_generator(generator)
        rewrite_all(ONE_STEP, traced.step.graph, generator, without=without)
        model = unroll(traced, reference, sampler)
        rewrite_all(ALL_STEPS, model.graph, generator, schedule.steps, without)
        return model


GRAPHS = DdganGraphs()


def unroll(traced: Traced, reference: DdganReference, sampler: Sampler) -> ir.Model:
    """The sampler of a traced generator, before what is rewritten in all steps together."""
    generator, schedule = reference.generator, reference.schedule
    build = SamplerBuilder(sampler)
    (styles,) = build.copy(traced.latent.graph, [build.inputs["z"]], {}, float32=(_LATENT_STATISTICS,))
    step_weights: dict[ir.Value, ir.Value] = {}
    x = build.inputs["x_T"]
    for k, t in enumerate(reversed(range(schedule.steps))):
        time_biases = _time_biases(build, generator, t, f"step{k}")
        inputs = [x, *time_biases, *_styles(build, styles, traced.style_widths, k)]
        (raw,) = build.copy(traced.step.graph, inputs, step_weights, prefix=f"step{k}/")
        squash = "Tanh" if generator.squash == "tanh" else "Identity"
        x_0 = build.op(squash, [raw], name=f"step{k}/x0" if t > 0 else "x_0", float32=True)
        if t == 0:
            return build.model(x_0)
        coef_x0, coef_xt, sigma = schedule.posterior.at(t)
        row = np.array(Coefficients(c0=coef_x0, ct=coef_xt, s=sigma), np.float32)
        coefficients = build.constant(f"step{k}/coefficients", row)
        inputs = [x_0, x, build.pick("noise", k), coefficients]
        x = build.fused(STEP, inputs, name=f"step{k}/ReverseStep", float32=True)
    raise AssertionError("a schedule has a last step")


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


def _styles(build: GraphBuilder, table: ir.Value, widths: Sequence[int], step: int) -> list[ir.Value]:
    """The scales [batch, C] of all AdaGNs of one step, then their shifts."""
    index = build.constant(f"step{step}/style/index", np.int64(step))
    row = build.op("Gather", [table, index], name=f"step{step}/style", axis=1)
    pieces = build.split(row, widths, name=f"step{step}/styles")
    return pieces[0::2] + pieces[1::2]


def _time_biases(build: GraphBuilder, generator: Generator, t: int, prefix: str) -> list[ir.Value]:
    with torch.no_grad():
        biases = generator.time_biases(torch.tensor([t]))
    return [build.constant(f"{prefix}/time_bias_{i}", bias.numpy()) for i, bias in enumerate(biases)]
