"""3x3 convolutions by `ddgan.Conv3x3`, in a graph as ONNX Runtime's CPU provider runs it with the native library.

The files keep ONNX's own Conv nodes, which every runtime knows; the engine rewrites a graph in memory when it opens it.

1. Conv becomes ``Conv3x3(x, weight, bias)``: 3x3, stride 1, padding 1, one group, a bias, weights that are float32
   initializers, at least `_CHANNELS` channels on either side and `_PIXELS` pixels.
2. An Add of a tensor of the same shape, the only reader of rule 1's result, joins it as the fourth input.
3. A Mul by one number, the only reader of rule 1's or 2's result, joins it as the attribute ``scale``.

Rules 2 and 3 keep the order of the additions and the product: y = (conv + bias + residual) * scale. No rule asks for
the batch: one seed gives one image in any.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ddgan_deploy.artifact.subgraphs import with_bodies
from ddgan_deploy.engines.onnxruntime.graph import (
    Rewriting,
    Shapes,
    Values,
    convolution,
    image_size,
    import_domain,
    infer,
    same_size,
)

if TYPE_CHECKING:
    import onnx

_CHANNELS = 16
"""With fewer, a vector of channels is mostly empty."""

_PIXELS = 64
"""With fewer, making the weights' transform takes longer than the multiplications it saves, at batch 1."""


def specialize(model: onnx.ModelProto, shapes: Shapes | None = None) -> int:
    """Rewrites the model's graph and the bodies of its Loops in place; returns the number of Conv3x3 nodes."""
    values = Values.of(model, infer(model).shapes if shapes is None else shapes)
    count = sum(_specialize(graph, values) for graph in with_bodies(model.graph))
    if count:
        import_domain(model)
    return count


def _specialize(graph: onnx.GraphProto, values: Values) -> int:
    from onnx import helper

    from ddgan_deploy.kernels.op import DOMAIN

    rewriting, count = Rewriting(graph, values), 0
    for place, conv in enumerate(rewriting.nodes):
        if not _is_eligible(conv, values):
            continue
        chain = rewriting.chain(place)
        inputs = [*conv.input, *([chain.residual] if chain.residual else [])]
        node = helper.make_node("Conv3x3", inputs, [chain.output], conv.name, domain=DOMAIN, scale=chain.scale)
        rewriting.replace(chain, node)
        count += 1
    if count:
        rewriting.finish()
    return count


def _is_eligible(node: onnx.NodeProto, values: Values) -> bool:
    if len(node.input) != 3 or convolution(node, (3, 3)) != same_size(3):
        return False
    weight = values.initializers.get(node.input[1])
    if weight is None or weight.data_type != weight.FLOAT or list(weight.dims[2:]) != [3, 3]:
        return False
    size = image_size(values.shapes.get(node.input[0], ()))
    return min(weight.dims[:2]) >= _CHANNELS and size is not None and math.prod(size) >= _PIXELS
