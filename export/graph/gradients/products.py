"""Convolutions and matrix products. Weights are never stored again: every rule takes the node's own."""

from __future__ import annotations

import onnx_ir as ir

from ddgan_deploy.export.graph.gradients.backward import Backward


def conv(at: Backward, position: int) -> ir.Value:
    """y = x * w + b:  dx = dy *ᵀ w, the transposed convolution with the same weights.

    Its output padding gives back the pixels at the end that a stride leaves out.
    """
    at.only(0, position=position)
    at.expect(auto_pad="NOTSET")
    extents, kernel = at.extents(at.x())[2:], at.extents(at.x(1))[2:]
    rank = len(extents)
    at.expect(dilations=(1,) * rank)
    attributes = at.node.attributes
    strides = attributes.get_ints("strides", (1,) * rank)
    pads = attributes.get_ints("pads", (0,) * 2 * rank)
    left_out = [
        (at.static(extents[axis]) + pads[axis] + pads[rank + axis] - at.static(kernel[axis])) % strides[axis]
        for axis in range(rank)
    ]
    return at.op(
        "ConvTranspose",
        at.dy,
        at.x(1),
        like=at.x(),
        strides=strides,
        pads=pads,
        output_padding=left_out,
        group=attributes.get_int("group", 1),
    )


def matmul(at: Backward, position: int) -> ir.Value:
    """y = a·b:  da = dy·bᵀ, db = aᵀ·dy.

    The transposition costs a run nothing: ONNX Runtime folds that of a constant, once for all copies of a step, and
    makes one node of the product and that of an activation.
    """
    other = at.x(1 - position)
    extents, own = at.extents(other), at.extents(at.x(position))
    if min(len(extents), len(own)) < 2:
        raise at.refusal("an operand is a vector")
    axes = list(range(len(extents)))
    axes[-2:] = axes[:-3:-1]
    swapped = at.op("Transpose", other, shape=[extents[axis] for axis in axes], perm=axes)
    product = [at.dy, swapped] if position == 0 else [swapped, at.dy]
    shape = [*at.extents(at.dy)[:-2], *own[-2:]]
    return at.summed(at.op("MatMul", *product, shape=shape), position)


def gemm(at: Backward, position: int) -> ir.Value:
    """y = α·a·b + β·c, b transposed or not:  da = α·dy·bᵀ."""
    at.only(0, position=position)
    at.expect(transA=0)
    attributes = at.node.attributes
    return at.op(
        "Gemm",
        at.dy,
        at.x(1),
        like=at.x(),
        alpha=attributes.get_float("alpha", 1.0),
        transB=1 - attributes.get_int("transB", 0),
    )
