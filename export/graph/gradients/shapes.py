"""Ops that move values and compute none."""

from __future__ import annotations

from functools import reduce

import onnx_ir as ir

from ddgan_deploy.export.graph.gradients.backward import Backward


def reshape(at: Backward, position: int) -> ir.Value:
    """y = x in another shape, whichever op says it:  dx = dy in x's shape."""
    at.only(0, position=position)
    return at.reshaped(at.dy, at.x())


def expand(at: Backward, position: int) -> ir.Value:
    """y = x broadcast:  dx = Σ dy over the broadcast axes."""
    return at.summed(at.dy, position)


def transpose(at: Backward, _: int) -> ir.Value:
    """y = x with permuted axes:  dx = dy with the axes permuted back."""
    rank = len(at.extents(at.x()))
    perm = list(at.node.attributes.get_ints("perm", range(rank)[::-1]))
    return at.op("Transpose", at.dy, like=at.x(), perm=[perm.index(axis) for axis in range(rank)])


def concat(at: Backward, position: int) -> ir.Value:
    """y = [.., x, ..]:  dx = the part of dy where x is."""
    axis = at.node.attributes["axis"].as_int() % len(at.extents(at.y))
    ends = [0]
    for i in range(position + 1):
        ends.append(ends[-1] + at.static(at.extents(at.x(i))[axis]))
    return at.op("Slice", at.dy, (ends[-2],), (ends[-1],), (axis,), like=at.x(position))


def split(at: Backward, position: int) -> ir.Value:
    """[y_0, y_1, ..] = x:  dx = [dy_0, dy_1, ..], with zeros for a piece that nothing came back to."""
    at.only(0, position=position)
    axis = at.node.attributes.get_int("axis", 0) % len(at.extents(at.x()))
    pieces = [piece for piece in at.dys if piece is not None]
    if len(pieces) == len(at.dys):
        return at.op("Concat", *pieces, like=at.x(), axis=axis)
    start, padded = 0, []
    for y, dy in zip(at.node.outputs, at.dys, strict=True):
        if dy is not None:
            padded.append(at.padded(dy, {axis: start}))
        start += at.static(at.extents(y)[axis])
    return reduce(lambda one, other: at.op("Add", one, other, like=at.x()), padded)


def slice_(at: Backward, position: int) -> ir.Value:
    """y = x[start:end] along some axes:  dx = dy with zeros around it."""
    at.only(0, position=position)
    starts, axes, steps = at.integers(1), at.integers(3), at.integers(4)
    assert starts is not None
    if set(steps or [1]) != {1}:
        raise at.refusal(f"its steps are {steps}")
    x, y = at.extents(at.x()), at.extents(at.y)
    firsts = {
        axis % len(x): slice(start, None).indices(at.static(x[axis]))[0]
        for start, axis in zip(starts, axes or range(len(starts)), strict=True)
        if x[axis] != y[axis]
    }
    return at.padded(at.dy, firsts)


def gather(at: Backward, position: int) -> ir.Value:
    """y = x[i] along an axis, i one constant number:  dx = dy with that axis, and zeros around it."""
    at.only(0, position=position)
    index = at.constant(at.x(1))
    if index.ndim:
        raise at.refusal(f"its index has the shape {list(index.shape)}")
    extents = at.extents(at.x())
    axis = at.node.attributes.get_int("axis", 0) % len(extents)
    shape = [1 if i == axis else extent for i, extent in enumerate(extents)]
    dy = at.op("Unsqueeze", at.dy, (axis,), shape=shape)
    return at.padded(dy, {axis: int(index) % at.static(extents[axis])})
