"""Transposed convolutions of stride 1 as the convolutions that they are, in a graph as the CPU engine runs it.

ConvTranspose(x, w, b) becomes Conv(x, w', b): w' has the channels of w exchanged and its taps turned around, and pads
are what the kernel reaches less the pads of before. A convolution's gradient by its input is such a node. ONNX Runtime
multiplies it out and adds the columns up, where a convolution has kernels of its own, and rules of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ddgan_deploy.artifact.subgraphs import with_bodies
from ddgan_deploy.engines.onnxruntime.graph import ONNX_DOMAINS, Values, attributes, defaults, drop_unread
from ddgan_deploy.engines.onnxruntime.weights import Weights

if TYPE_CHECKING:
    import onnx


def untranspose(model: onnx.ModelProto, weights: Weights) -> int:
    """Rewrites the model's graph and the bodies of its Loops in place; returns the number of nodes."""
    nodes = [node for graph in with_bodies(model.graph) for node in graph.node if node.op_type == "ConvTranspose"]
    if not nodes:
        return 0
    values, made, count = Values.of(model, {}), dict[str, tuple[str, str]](), 0
    for node in nodes:
        tensor = values.initializers.get(node.input[1])
        if tensor is None or tensor.data_type != tensor.FLOAT:
            continue
        pads = _pads(node, tuple(tensor.dims[2:]))
        if pads is None:
            continue
        if tensor.name not in made:
            turned = np.flip(weights.read(tensor), (2, 3)).swapaxes(0, 1)
            # A convolution of ours has a bias.
            none = np.zeros(len(turned), np.float32)
            made[tensor.name] = (
                weights.add(f"{tensor.name}/turned", turned),
                weights.add(f"{tensor.name}/no bias", none),
            )
        _replace(node, *made[tensor.name], pads)
        count += 1
    if count:
        drop_unread(model)
    return count


def _replace(node: onnx.NodeProto, weight: str, no_bias: str, pads: list[int]) -> None:
    from onnx import helper

    bias = node.input[2] if len(node.input) > 2 and node.input[2] else no_bias
    inputs = [node.input[0], weight, bias]
    node.CopyFrom(helper.make_node("Conv", inputs, list(node.output), node.name, pads=pads))


def _pads(node: onnx.NodeProto, kernel: tuple[int, ...]) -> list[int] | None:
    """Of the convolution that a node is; None where it is none of two dimensions with pads of zero or more."""
    if node.domain not in ONNX_DOMAINS or len(kernel) != 2:
        return None
    given = attributes(node, kernel)
    pads = [reach - 1 - pad for reach, pad in zip(kernel * 2, given["pads"], strict=True)]
    plain = {**defaults("ConvTranspose", kernel), "pads": given["pads"]}
    return pads if given == plain and min(pads) >= 0 else None
