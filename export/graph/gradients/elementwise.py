"""Ops that work value by value."""

from __future__ import annotations

import onnx_ir as ir

from ddgan_deploy.export.graph.gradients.backward import Backward


def add(at: Backward, position: int) -> ir.Value:
    """y = a + b:  da = dy, db = dy."""
    return at.summed(at.dy, position)


def sub(at: Backward, position: int) -> ir.Value:
    """y = a - b:  da = dy, db = -dy."""
    return at.summed(at.dy if position == 0 else at.op("Neg", at.dy), position)


def mul(at: Backward, position: int) -> ir.Value:
    """y = a·b:  da = dy·b, db = dy·a."""
    return at.summed(at.op("Mul", at.dy, at.x(1 - position)), position)


def div(at: Backward, position: int) -> ir.Value:
    """y = a/b:  da = dy/b, db = -(dy/b)·y."""
    by_a = at.op("Div", at.dy, at.x(1))
    if position == 0:
        return at.summed(by_a, position)
    return at.summed(at.op("Neg", at.op("Mul", by_a, at.y)), position)


def neg(at: Backward, _: int) -> ir.Value:
    """y = -x:  dx = -dy."""
    return at.op("Neg", at.dy)


def exp(at: Backward, _: int) -> ir.Value:
    """y = exp x:  dx = dy·y."""
    return at.op("Mul", at.dy, at.y)


def sqrt(at: Backward, _: int) -> ir.Value:
    """y = √x:  dx = dy/(2y)."""
    return at.op("Div", at.dy, at.op("Add", at.y, at.y))


def power(at: Backward, position: int) -> ir.Value:
    """y = x^c, c one constant number:  dx = dy·c·x^(c-1)."""
    at.only(0, position=position)
    exponents = at.constant(at.x(1))
    if exponents.size != 1:
        raise at.refusal(f"its exponents have the shape {list(exponents.shape)}")
    exponent, x = float(exponents.item()), at.x()
    lower = x if exponent == 2 else at.op("Pow", x, exponent - 1)
    return at.op("Mul", at.dy, at.op("Mul", lower, exponent))


def sigmoid(at: Backward, _: int) -> ir.Value:
    """y = 1/(1 + exp -x):  dx = dy·y·(1 - y)."""
    return at.op("Mul", at.dy, at.op("Mul", at.y, at.op("Sub", 1.0, at.y)))


def tanh(at: Backward, _: int) -> ir.Value:
    """y = tanh x:  dx = dy·(1 - y²)."""
    return at.op("Mul", at.dy, at.op("Sub", 1.0, at.op("Mul", at.y, at.y)))


def relu(at: Backward, _: int) -> ir.Value:
    """y = max(x, 0):  dx = dy·sign(y), 0 where x is 0."""
    return at.op("Mul", at.dy, at.op("Sign", at.y))


def identity(at: Backward, _: int) -> ir.Value:
    """y = x:  dx = dy."""
    return at.dy


def cast(at: Backward, _: int) -> ir.Value:
    """y = x in another float type:  dx = dy in x's."""
    x = at.x()
    assert x.dtype is not None
    return at.op("Cast", at.dy, like=x, to=int(x.dtype))
