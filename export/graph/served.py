"""Sampler graph -> the served graph: a seed in, pixels out.

The noise inputs become PhiloxNormal nodes of the seed; x_0 becomes bytes.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.convenience import replace_all_uses_with

from ddgan_deploy.export.graph.builder import BATCH, GraphBuilder, graph_input, noise_name
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.kernels.philox_normal.spec import SPEC as PHILOX_NORMAL
from ddgan_deploy.noise import X_T_STREAM, noise_stream, z_stream


def seed_to_pixels(sampler: ir.Model, config: GeneratorConfig, steps: int) -> ir.Model:
    """A copy of the sampler that takes ``seed`` and gives ``image``; the weights are shared.

    Args:
        sampler: the unrolled sampler, left as it is.
        config: its architecture.
        steps: its T.
    """
    graph = sampler.graph.clone()
    seed = graph_input("seed", (BATCH, 1), ir.DataType.INT64)
    head = GraphBuilder()
    _noise(head, graph, seed, config, steps)
    tail = GraphBuilder()
    image = _pixels(tail, graph.outputs[0], config)
    for value in (*head.initializers, *tail.initializers):
        graph.register_initializer(value)
    graph.insert_before(graph[0], head.nodes)
    graph.extend(tail.nodes)
    graph.inputs[:] = [seed]
    graph.outputs[:] = [image]
    graph.name = "ddgan"
    return ir.Model(graph, ir_version=sampler.ir_version)


def _noise(build: GraphBuilder, graph: ir.Graph, seed: ir.Value, config: GeneratorConfig, steps: int) -> None:
    """Draws every noise input from the seed."""

    def normal(name: str, stream: int, shape: tuple[int, ...]) -> ir.Value:
        return build.fused(PHILOX_NORMAL, [seed], name=name, stream=stream, shape=shape)

    x_T, z = graph.inputs[:2]
    replace_all_uses_with(x_T, normal("draw/x_T", X_T_STREAM, config.image_shape))
    latents = [normal(f"draw/z{k}", z_stream(k), (1, config.nz)) for k in range(steps)]
    replace_all_uses_with(z, build.op("Concat", latents, name="draw/z", axis=1) if steps > 1 else latents[0])
    pick = {node.name: node for node in graph if node.op_type == "Gather"}
    for k in range(steps - 1):
        node = pick[noise_name(k)]
        replace_all_uses_with(node.outputs[0], normal(f"draw/noise{k}", noise_stream(k), config.image_shape))
        graph.remove(node, safe=True)


def _pixels(build: GraphBuilder, x_0: ir.Value, config: GeneratorConfig) -> ir.Value:
    """floor(clip((x + 1) / 2 * 255 + 0.5, 0, 255)) as uint8 [batch, H, W, C]."""
    value = x_0
    for i, (op_type, operand) in enumerate((("Add", 1.0), ("Mul", 0.5), ("Mul", 255.0), ("Add", 0.5))):
        constant = build.constant(f"pixels/constant{i}", np.float32(operand))
        value = build.op(op_type, [value, constant], name=f"pixels/{op_type}{i}")
    limits = [build.constant(f"pixels/{name}", np.float32(limit)) for name, limit in (("low", 0), ("high", 255))]
    value = build.op("Clip", [value, *limits], name="pixels/Clip")
    value = build.op("Transpose", [value], name="pixels/Transpose", perm=(0, 2, 3, 1))
    # Cast rounds towards zero, which is floor from 0 on. It comes last: TensorRT has uint8 as an output alone.
    image = build.op("Cast", [value], name="image", dtype=ir.DataType.UINT8, to=ir.DataType.UINT8)
    channels, height, width = config.image_shape
    image.shape = ir.Shape((BATCH, height, width, channels))
    return image
