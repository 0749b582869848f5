"""A StyleGAN2 as one graph: a single pass, whose styles are one product and whose batch stays dynamic."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir
import torch
from torch import nn

from ddgan_deploy.export.graph.builder import maker
from ddgan_deploy.export.graph.rewriting import Rewrite
from ddgan_deploy.export.graph.steps import SamplerBuilder
from ddgan_deploy.export.graph.trace import LAYER, trace
from ddgan_deploy.export.loop_choice import LoopChoice
from ddgan_deploy.families.stylegan2.family import FAMILY
from ddgan_deploy.families.stylegan2.network import Float32, Generator
from ddgan_deploy.families.stylegan2.reference import StyleGan2Reference
from ddgan_deploy.sampler import Sampler


class StyleGan2Graphs:
    """See `export.families.base.GraphFamily`."""

    rewrites: tuple[Rewrite, ...] = ()

    def build(
        self,
        reference: StyleGan2Reference,
        sampler: Sampler,
        without: Collection[str] = (),
        loop: LoopChoice = "auto",
    ) -> ir.Model:
        """``z``, the noise, and the knobs -> ``x_0``."""
        generator = reference.generator
        build = SamplerBuilder(sampler, loop)
        values = build.copy(
            trace_generator(generator, sampler).graph, list(build.inputs.values()), float32=float32_layers(generator)
        )
        for probe, value in zip(FAMILY.probes(generator.config, generator.sampling), values, strict=True):
            maker(value).name = value.name = probe.node
        return build.model(values[-1])


GRAPHS = StyleGan2Graphs()


def trace_generator(generator: Generator, sampler: Sampler) -> ir.Model:
    """Traces a generator, from the sampler's inputs in their order to the values of all probes."""
    examples = tuple(torch.zeros(2, *shape, dtype=getattr(torch, dtype)) for dtype, shape in sampler.inputs().values())
    batch = torch.export.Dim("batch")
    model = trace(
        _Pass(generator, tuple(sampler.inputs())), (examples,), (tuple({0: batch} for _ in examples),), "generator."
    )
    for node in model.graph:
        if node.op_type == "Split":
            # Folding has made it of a sequence, and forgot that it is of the styles.
            node.name, node.metadata_props[LAYER] = "styles/Split", "styles"
            assert node.inputs[1] is not None
            node.inputs[1].name = "styles/Split/sizes"
    return model


def float32_layers(generator: Generator) -> set[str]:
    """The layers that stay in float32."""
    return {
        f"{path}.{inner}".rstrip(".")
        for path, module in generator.named_modules()
        if isinstance(module, Float32)
        for inner, _ in module.named_modules()
    }


class _Pass(nn.Module):
    """`Generator` with the sampler's inputs."""

    def __init__(self, generator: Generator, names: tuple[str, ...]) -> None:
        super().__init__()
        self.generator, self.names = generator, names

    def forward(self, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        given = dict(zip(self.names, inputs, strict=True))
        noises = [value for name, value in given.items() if name.startswith("noise_")]
        found: list[torch.Tensor] = self.generator(given["z"], given.get("label"), given.get("truncation"), noises)
        return found
