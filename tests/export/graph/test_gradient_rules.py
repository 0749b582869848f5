"""Every rule of reverse mode against autograd, over odd shapes, at two batch sizes of one graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ddgan_deploy.export.graph.gradients.rules import RULES
from tests.export.graph.differentiated import Plain, add_gradient, assert_as_autograd, gradient_types, graph_of

IMAGE = (3, 5, 4)
_rng = np.random.default_rng(1)


def weights(*shape: int) -> np.ndarray:
    return _rng.normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


class Case(NamedTuple):
    """Nodes from ``x`` to ``y``, the same in PyTorch (of x and w), and the types of the gradient's nodes."""

    nodes: str
    plain: Plain
    types: str
    constants: Mapping[str, np.ndarray] = {}
    shape: tuple[int, ...] = IMAGE


W = weights(3, 5, 4)
CHANNELS = weights(3, 1, 1)
POSITIVE = np.abs(weights(3, 1, 4)) + 0.5
LINEAR = weights(4, 7)
ROWS = weights(3, 2, 5)
CONVS = {
    "1x1": ((1, 1), {}, IMAGE),
    "3x3": ((3, 3), {"padding": 1}, IMAGE),
    "3x3 alone": ((3, 3), {}, IMAGE),
    "stride, odd": ((3, 3), {"padding": 1, "stride": 2}, (3, 7, 5)),
    "stride, even": ((3, 3), {"padding": 1, "stride": 2}, (3, 6, 8)),
    "stride, odd and even": ((3, 3), {"padding": (1, 0), "stride": (2, 3)}, (3, 7, 6)),
    "1x1, stride": ((1, 1), {"stride": 2}, (3, 6, 5)),
    "1-D": ((1,), {}, (3, 7)),
    "1-D, stride": ((3,), {"stride": 2, "padding": 1}, (3, 8)),
    "groups": ((3, 3), {"padding": 1, "groups": 3}, (6, 5, 4)),
}


def conv(kernel: tuple[int, ...], options: Mapping[str, object], shape: tuple[int, ...]) -> Case:
    rank, groups = len(kernel), options.get("groups", 1)
    stride, padding = (
        np.broadcast_to(options.get(name, least), rank) for name, least in (("stride", 1), ("padding", 0))
    )
    text = f"strides = [{','.join(map(str, stride))}], pads = [{','.join(map(str, [*padding, *padding]))}]"
    w, b = weights(9, shape[0] // groups, *kernel), weights(9)
    function = {1: F.conv1d, 2: F.conv2d}[rank]
    return Case(
        f"y = Conv <{text}, group = {groups}> (x, w, b)",
        lambda x: function(x, *(torch.from_numpy(each).to(x.dtype) for each in (w, b)), **options),
        "ConvTranspose",
        {"w": w, "b": b},
        shape,
    )


def with_(value: np.ndarray, function: Plain) -> Plain:
    """A function of x and of a constant in x's type."""
    return lambda x: function(x, torch.from_numpy(value).to(x.dtype))


CASES = {
    **{f"Conv {name}": conv(*each) for name, each in CONVS.items()},
    "Add": Case("h = Add (x, w)\ny = Mul (h, h)", with_(W, lambda x, w: (x + w) ** 2), "Mul Mul Add", {"w": W}),
    "Add, broadcast": Case(
        "m = ReduceMean (x, axes)\nh = Add (m, w)\ny = Tanh (h)",
        with_(W, lambda x, w: torch.tanh(x.mean((2, 3), keepdim=True) + w)),
        "Mul Sub Mul ReduceSum Mul Expand",
        {"w": W, "axes": ints(2, 3)},
    ),
    "Add, of a higher rank": Case(
        "y = Add (x, w)", with_(W[:, :1], lambda x, w: x + w), "ReduceSum Reshape", {"w": W[:, :1]}, (4,)
    ),
    "Sub": Case("y = Sub (w, x)", with_(W, lambda x, w: w - x), "Neg", {"w": W}),
    "Sub, first": Case("h = Sub (x, w)\ny = Neg (h)", with_(W, lambda x, w: w - x), "Neg", {"w": W}),
    "Mul": Case("y = Mul (x, w)", with_(CHANNELS, lambda x, w: x * w), "Mul", {"w": CHANNELS}),
    "Mul, broadcast": Case(
        "m = ReduceSum <keepdims = 0> (x, axes)\nu = Unsqueeze (m, axis)\ny = Mul (w, u)",
        with_(W, lambda x, w: w * x.sum((1, 3))[:, None, :, None]),
        "Mul ReduceSum Reshape Unsqueeze Expand",
        {"w": W, "axes": ints(1, -1), "axis": ints(1, 3)},
    ),
    "Div": Case("y = Div (x, w)", with_(POSITIVE, lambda x, w: x / w), "Div", {"w": POSITIVE}),
    "Div, below": Case(
        "e = Exp (x)\nh = Add (e, w)\ny = Div (w, h)",
        with_(POSITIVE, lambda x, w: w / (x.exp() + w)),
        "Div Mul Neg Mul",
        {"w": POSITIVE},
    ),
    "Neg": Case("y = Neg (x)", torch.neg, "Neg"),
    "Exp": Case("y = Exp (x)", torch.exp, "Mul"),
    "Sqrt": Case("e = Exp (x)\ny = Sqrt (e)", lambda x: x.exp().sqrt(), "Add Div Mul"),
    "Pow": Case("y = Pow (x, c)", lambda x: x**2, "Mul Mul", {"c": np.float32(2)}),
    "Pow, below 0": Case(
        "e = Exp (x)\ny = Pow (e, c)", lambda x: x.exp() ** -1.5, "Pow Mul Mul Mul", {"c": np.array([-1.5], np.float32)}
    ),
    "Sigmoid": Case("y = Sigmoid (x)", torch.sigmoid, "Sub Mul Mul"),
    "Tanh": Case("y = Tanh (x)", torch.tanh, "Mul Sub Mul"),
    "Relu": Case("y = Relu (x)", torch.relu, "Sign Mul"),
    "Identity": Case("h = Identity (x)\ny = Neg (h)", torch.neg, "Neg"),
    "Cast": Case("d = Cast <to = 11> (x)\nt = Tanh (d)\ny = Cast <to = 1> (t)", torch.tanh, "Cast Mul Sub Mul Cast"),
    "MatMul": Case("y = MatMul (x, w)", with_(LINEAR, torch.matmul), "Transpose MatMul", {"w": LINEAR}),
    "MatMul, second": Case("y = MatMul (w, x)", with_(ROWS, lambda x, w: w @ x), "Transpose MatMul", {"w": ROWS}),
    "MatMul, both": Case(
        "t = Transpose <perm = [0, 1, 3, 2]> (x)\ny = MatMul (x, t)",
        lambda x: x @ x.mT,
        "Transpose MatMul Transpose MatMul Transpose Add",
    ),
    "MatMul, broadcast": Case(
        "m = ReduceSum (x, axes)\ny = MatMul (w, m)",
        with_(ROWS, lambda x, w: w @ x.sum(1, keepdim=True)),
        "Transpose MatMul ReduceSum Expand",
        {"w": ROWS, "axes": ints(1)},
    ),
    "Gemm": Case("y = Gemm (x, w, b)", with_(LINEAR, torch.matmul), "Gemm", {"w": LINEAR, "b": weights(7)}, (4,)),
    "Gemm, transposed": Case(
        "y = Gemm <transB = 1, alpha = 0.5> (x, w)",
        with_(LINEAR, lambda x, w: 0.5 * x @ w.mT),
        "Gemm",
        {"w": LINEAR},
        (7,),
    ),
    "Reshape": Case("y = Reshape (x, s)", lambda x: x.reshape(-1, 15, 4), "Reshape", {"s": ints(0, 15, 4)}),
    "Reshape, of the batch": Case(
        "r = Reshape (x, s)\nt = Transpose <perm = [0, 2, 1]> (r)\ny = Reshape (t, u)",
        lambda x: x.mT,
        "Reshape Transpose Reshape",
        {"s": ints(-1, 5, 4), "u": ints(-1, 3, 4, 5)},
    ),
    "Flatten": Case("y = Flatten (x)", lambda x: x.flatten(1), "Reshape"),
    "Squeeze": Case("y = Squeeze (x, axes)", lambda x: x.squeeze(2), "Reshape", {"axes": ints(2)}, (3, 1, 4)),
    "Unsqueeze": Case("y = Unsqueeze (x, axes)", lambda x: x[:, :, None], "Reshape", {"axes": ints(2)}),
    "Expand": Case(
        "y = Expand (x, s)", lambda x: x.expand(-1, 3, 5, 4), "ReduceSum", {"s": ints(1, 3, 5, 4)}, (3, 1, 4)
    ),
    "Transpose": Case("y = Transpose <perm = [0, 2, 3, 1]> (x)", lambda x: x.permute(0, 2, 3, 1), "Transpose"),
    "Concat": Case(
        "n = Neg (x)\ny = Concat <axis = -2> (x, n)", lambda x: torch.cat([x, -x], 2), "Slice Slice Neg Add"
    ),
    "Slice": Case(
        "y = Slice (x, from, to, axes)",
        lambda x: x[:, :, 1:-1, -3:-1],
        "Pad",
        {"from": ints(1, -3), "to": ints(-1, -1), "axes": ints(2, -1)},
    ),
    "Split": Case(
        "a, b = Split <axis = 1> (x, sizes)\nh = ReduceSum (b, axes)\ny = Mul (a, h)",
        lambda x: x[:, :1] * x[:, 1:].sum(1, keepdim=True),
        "Mul Mul Expand Concat",
        {"sizes": ints(1, 2), "axes": ints(1)},
    ),
    "Split, not all": Case(
        "a, b, c = Split <axis = -3, num_outputs = 3> (x)\ny = Mul (b, c)",
        lambda x: x[:, 1:2] * x[:, 2:],
        "Mul Mul Pad Pad Add",
    ),
    "Gather": Case("y = Gather <axis = 2> (x, i)", lambda x: x[:, :, -2], "Unsqueeze Pad", {"i": np.int64(-2)}),
    "ReduceSum": Case("y = ReduceSum (x, axes)", lambda x: x.sum((1, 3), keepdim=True), "Expand", {"axes": ints(3, 1)}),
    "ReduceMean": Case(
        "y = ReduceMean <keepdims = 0> (x, axes)",
        lambda x: x.mean((-1, 1)),
        "Mul Unsqueeze Expand",
        {"axes": ints(-1, 1)},
    ),
    "GlobalAveragePool": Case("y = GlobalAveragePool (x)", lambda x: x.mean((2, 3), keepdim=True), "Mul Expand"),
    "AveragePool": Case(
        "y = AveragePool <kernel_shape = [2, 3], strides = [2, 3]> (x)",
        lambda x: F.avg_pool2d(x, (2, 3)),
        "Mul Resize",
        shape=(3, 4, 9),
    ),
    "AveragePool, with a rest": Case(
        "y = AveragePool <kernel_shape = [2, 3], strides = [2, 3], pads = [0, 0, 0, 0]> (x)",
        lambda x: F.avg_pool2d(x, (2, 3)),
        "Mul Resize Pad",
    ),
    "Softmax": Case("y = Softmax <axis = 1> (x)", lambda x: x.softmax(1), "Mul ReduceSum Sub Mul"),
    "LogSoftmax": Case("y = LogSoftmax (x)", lambda x: x.log_softmax(-1), "Exp MatMul Mul Sub"),
    "Softmax of the last": Case("y = Softmax (x)", lambda x: x.softmax(-1), "Mul MatMul Sub Mul"),
}


@pytest.mark.parametrize("name", CASES)
def test_is_autograds(name):
    case = CASES[name]
    model = graph_of(case.nodes, case.shape, case.constants)
    add_gradient(model)
    assert gradient_types(model) == case.types.split()
    assert_as_autograd(model, case.plain)


def test_every_rule_has_a_case():
    assert {name.split()[0].rstrip(",") for name in CASES} == RULES.keys()
