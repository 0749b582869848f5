"""ResampleUp and ResampleDown, on every instruction set, against PyTorch's depthwise convolutions in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from ddgan_deploy.kernels.op import DOMAIN, IR_VERSION, OPSET, VERSION

VERTICAL, HORIZONTAL = [0.3, 0.5, -0.25, 1.5], [1.0, -2.0, 3.0, 0.5]
UP, DOWN = "ResampleUp", "ResampleDown"
SHAPES = [(1, 8, 32, 32), (2, 3, 4, 4), (5, 7, 2, 3), (1, 1, 9, 2), (1, 2, 17, 70), (0, 3, 4, 4)]


def _run(native, op_type, x, bias=None, threads=2, vertical=VERTICAL):
    inputs = {"x": x} if bias is None else {"x": x, "bias": bias}
    node = helper.make_node(op_type, list(inputs), ["y"], domain=DOMAIN, vertical=vertical, horizontal=HORIZONTAL)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * v.ndim) for name, v in inputs.items()]
    graph = helper.make_graph([node], "resample", values, [helper.make_empty_tensor_value_info("y")])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return native.session(model, threads).run(None, inputs)[0]


def _reference(op_type, x, bias):
    channels = x.shape[1]
    kernel = torch.outer(torch.tensor(VERTICAL).double(), torch.tensor(HORIZONTAL).double())
    kernel = kernel.expand(channels, 1, 4, 4)
    convolve = torch.nn.functional.conv_transpose2d if op_type == UP else torch.nn.functional.conv2d
    added = None if bias is None else torch.from_numpy(bias).double()
    return convolve(torch.from_numpy(x).double(), kernel, added, stride=2, padding=1, groups=channels).numpy()


@pytest.mark.parametrize("op_type", [UP, DOWN])
@pytest.mark.parametrize("biased", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_depthwise_convolution(native, shape, op_type, biased):
    random = np.random.default_rng(0)
    x = random.normal(size=shape).astype(np.float32)
    bias = random.normal(size=shape[1]).astype(np.float32) if biased else None
    y = _run(native, op_type, x, bias)
    expected = _reference(op_type, x, bias) if shape[0] else np.zeros((0, 3, 8, 8) if op_type == UP else (0, 3, 2, 2))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("op_type", [UP, DOWN])
def test_bits_depend_neither_on_threads_nor_on_the_batch(native, op_type):
    x = np.random.default_rng(1).normal(size=(5, 70, 16, 18)).astype(np.float32)
    y = _run(native, op_type, x)
    np.testing.assert_array_equal(_run(native, op_type, x, threads=1), y)
    for n in range(len(x)):
        np.testing.assert_array_equal(_run(native, op_type, x[n : n + 1]), y[n : n + 1])


@pytest.mark.parametrize("op_type", [UP, DOWN])
def test_a_value_that_is_no_number_stays_where_it_is(native, op_type):
    x = np.zeros((1, 2, 12, 40), np.float32)
    x[0, 0, 6, 20] = np.nan
    bad = np.isnan(_run(native, op_type, x))
    np.testing.assert_array_equal(bad, np.isnan(_reference(op_type, x, None)))


def test_what_does_not_fit_is_refused(native):
    with pytest.raises(Exception, match=r"ResampleUp: x has shape \[1, 2, 1, 4\]"):
        _run(native, UP, np.zeros((1, 2, 1, 4), np.float32))
    with pytest.raises(Exception, match=r"ResampleDown: bias has shape \[3\], it must be \[2\]"):
        _run(native, DOWN, np.zeros((1, 2, 4, 4), np.float32), np.zeros(3, np.float32))
    with pytest.raises(Exception, match="ResampleUp: vertical has 3 values, it must have 4"):
        _run(native, UP, np.zeros((1, 2, 4, 4), np.float32), vertical=[1.0, 2.0, 3.0])
