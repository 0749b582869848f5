"""A consistency model's sampler as one graph: ADM's UNet between factors that are constants of each step."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from ddgan_deploy.export.families.unet import denoiser, table
from ddgan_deploy.export.graph.rewriting import Rewrite
from ddgan_deploy.export.graph.steps import SamplerBuilder, Step
from ddgan_deploy.export.loop_choice import LoopChoice
from ddgan_deploy.families.consistency.config import ConsistencySampling
from ddgan_deploy.families.consistency.reference import ConsistencyReference
from ddgan_deploy.families.consistency.schedule import process
from ddgan_deploy.kernels.reverse_step.spec import Coefficients
from ddgan_deploy.sampler import Sampler


class ConsistencyGraphs:
    """See `export.families.base.GraphFamily`."""

    rewrites: tuple[Rewrite, ...] = ()

    def build(
        self,
        reference: ConsistencyReference,
        sampler: Sampler,
        without: Collection[str] = (),
        loop: LoopChoice = "auto",
    ) -> ir.Model:
        """``x_T``, of several steps ``noise``, and where there are classes ``label`` -> ``x_0``."""
        build, sampling = SamplerBuilder(sampler, loop), reference.sampling
        levels = process(sampling)
        denoise = denoiser(build, reference.unet, [level.time for level in levels])
        c_in = table([level.c_in for level in levels])
        coefficients = table(_coefficients(sampling))

        def body(x: ir.Value, step: Step) -> ir.Value:
            scaled = step.op("Mul", [x, step.row("c_in", c_in, float32=True)], name="scaled", float32=True)
            out = step.op("Identity", [denoise(scaled, step)], name="output", float32=True)
            return step.reverse(out, x, step.row("coefficients", coefficients, float32=True), step.draw("noise"))

        most = build.constant("sigma_max", np.float32(sampling.sigma_max))
        first = build.op("Mul", [build.inputs["x_T"], most], name="x_max", float32=True, shape=sampler.image)
        return build.model(build.steps(first, body))


GRAPHS = ConsistencyGraphs()


def _coefficients(sampling: ConsistencySampling) -> list[Coefficients]:
    """Of ReverseStep, step by step; x_0 is clamped at the last in any case."""
    levels, found = process(sampling), []
    for k, level in enumerate(levels):
        clamped = sampling.clip_denoised or k == len(levels) - 1
        limits = {"lo": -1.0, "hi": 1.0} if clamped else {}
        found.append(Coefficients(a=level.c_out, b=level.c_skip, s=level.noise, **limits))
    return found
