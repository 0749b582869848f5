"""Sums, means, poolings, and what normalizes by a sum."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ddgan_deploy.export.graph.gradients.backward import Backward


def reduce_sum(at: Backward, position: int) -> ir.Value:
    """y = Σ x over some axes:  dx = dy along them."""
    return _along(at, at.dy, _axes(at, position))


def reduce_mean(at: Backward, position: int) -> ir.Value:
    """y = Σ x/n over n values along some axes:  dx = dy/n along them."""
    axes = _axes(at, position)
    return _along(at, _shared(at, axes), axes)


def global_average_pool(at: Backward, _: int) -> ir.Value:
    """y = Σ x/n over all n pixels:  dx = dy/n at all of them."""
    axes = list(range(2, len(at.extents(at.x()))))
    return _along(at, _shared(at, axes), axes)


def average_pool(at: Backward, _: int) -> ir.Value:
    """y = Σ x/n over tiles of n pixels:  dx = dy/n at all pixels of a tile, 0 at those of none."""
    kernel = at.node.attributes["kernel_shape"].as_ints()
    rank = len(kernel)
    at.expect(auto_pad="NOTSET", ceil_mode=0, dilations=(1,) * rank, pads=(0,) * 2 * rank)
    if tuple(at.node.attributes.get_ints("strides", (1,) * rank)) != tuple(kernel):
        raise at.refusal("its tiles overlap or leave pixels out between them")
    share = at.op("Mul", at.dy, 1 / math.prod(kernel))
    tiles = at.extents(at.y)
    tiled = [*tiles[:2], *(at.static(count) * size for count, size in zip(tiles[2:], kernel, strict=True))]
    scales = np.array([1, 1, *kernel], np.float32)
    repeated = at.op(
        "Resize",
        share,
        None,
        scales,
        shape=tiled,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    return at.padded(repeated, dict.fromkeys(range(2, rank + 2), 0))


def softmax(at: Backward, _: int) -> ir.Value:
    """y = exp x/Σ exp x:  dx = y·(dy - Σ dy·y)."""
    return at.op("Mul", at.y, at.op("Sub", at.dy, _total(at, at.op("Mul", at.dy, at.y))))


def log_softmax(at: Backward, _: int) -> ir.Value:
    """y = x - ln Σ exp x:  dx = dy - exp y·Σ dy."""
    return at.op("Sub", at.dy, at.op("Mul", at.op("Exp", at.y), _total(at, at.dy)))


def _axes(at: Backward, position: int) -> list[int]:
    """Of a reduction, none below 0."""
    at.only(0, position=position)
    rank, axes = len(at.extents(at.x())), at.integers(1)
    if not axes:
        at.expect(noop_with_empty_axes=0)
        return list(range(rank))
    return sorted(axis % rank for axis in axes)


def _shared(at: Backward, axes: list[int]) -> ir.Value:
    """The cotangent over the number of values that were averaged."""
    count = math.prod(at.static(at.extents(at.x())[axis]) for axis in axes)
    return at.op("Mul", at.dy, 1 / count)


def _along(at: Backward, value: ir.Value, axes: list[int]) -> ir.Value:
    """A value of the reduced shape, the same along the axes that were reduced."""
    extents = at.extents(at.x())
    sizes = [at.static(extent) if axis in axes else 1 for axis, extent in enumerate(extents)]
    if len(at.extents(value)) < len(extents):
        kept = [1 if axis in axes else extent for axis, extent in enumerate(extents)]
        value = at.op("Unsqueeze", value, tuple(axes), shape=kept)
    # Expand leaves an extent as it is where it is asked for 1.
    return at.op("Expand", value, tuple(sizes), like=at.x())


def _total(at: Backward, value: ir.Value) -> ir.Value:
    """The sum over the axis that was normalized.

    Over the last one it is a product with ones: how ONNX Runtime's ReduceSum orders an odd number of values depends on
    where in memory they begin, so that equal rows of a batch would differ in their last bits.
    """
    extents = at.extents(value)
    axis = at.node.attributes.get_int("axis", -1) % len(extents)
    shape = [1 if i == axis else extent for i, extent in enumerate(extents)]
    if axis < len(extents) - 1:
        return at.op("ReduceSum", value, (axis,), shape=shape, keepdims=1)
    assert value.dtype is not None
    ones = np.ones((at.static(extents[-1]), 1), value.dtype.numpy())
    return at.op("MatMul", value, ones, shape=shape)
