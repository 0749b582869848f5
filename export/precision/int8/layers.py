"""The layers that int8 can hold: products with trained weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from ddgan_deploy.export.precision.float16 import layer_of

READING = 32
"""Multiplications that take about as long as reading a weight from memory."""


@dataclass(frozen=True)
class Layer:
    """A layer at all steps.

    Attributes:
        name: its module.
        nodes: its products, every step's.
        work: what int8 makes faster, in multiplications of one image.
    """

    name: str
    nodes: tuple[ir.Node, ...]
    work: int


def find_layers(graph: ir.Graph) -> tuple[Layer, ...]:
    """The layers of an unrolled sampler in their order.

    1. A convolution over all channels together, with constant weights; a filter, as of resampling, is none.
    2. A matrix product with constant weights, such as all style layers together. Its input is the latent's, which
       int8 would spoil for no gain, so that the weights alone are rounded: see `quantizes_input`.
    """
    found: dict[str, list[ir.Node]] = {}
    for node in graph:
        if _is_convolution(node) or _is_product(node):
            found.setdefault(layer_of(node), []).append(node)
    return tuple(Layer(name, tuple(nodes), sum(map(_work, nodes))) for name, nodes in found.items())


def quantizes_input(node: ir.Node) -> bool:
    """Whether a layer's input is rounded besides its weights."""
    return node.op_type == "Conv"


def weight_of(node: ir.Node) -> ir.Value:
    """The weights of a layer's node."""
    value = node.inputs[1]
    assert value is not None and value.const_value is not None
    return value


def _is_convolution(node: ir.Node) -> bool:
    if node.op_type != "Conv" or not _has_constant_weight(node, 4):
        return False
    # An image of one channel is filtered by a convolution of one group.
    kernel = weight_of(node).const_value
    assert kernel is not None
    return node.attributes.get_int("group", 1) == 1 and tuple(kernel.shape.numpy()[:2]) != (1, 1)


def _is_product(node: ir.Node) -> bool:
    return node.op_type == "MatMul" and _has_constant_weight(node, 2)


def _has_constant_weight(node: ir.Node, rank: int) -> bool:
    value = node.inputs[1]
    return value is not None and value.const_value is not None and len(value.const_value.shape) == rank


def _work(node: ir.Node) -> int:
    weights, shape = weight_of(node).const_value, node.outputs[0].shape
    assert weights is not None
    positions = 1
    if node.op_type == "Conv":
        assert shape is not None
        positions = math.prod(size for size in shape[2:] if isinstance(size, int))
    return weights.size * (positions + READING)
