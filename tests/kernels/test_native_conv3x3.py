"""Conv3x3's C++ kernel, on every instruction set, against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from ddgan_deploy.kernels.op import DOMAIN, IR_VERSION, OPSET, VERSION

NAMES = ("x", "weight", "bias", "residual")
SCALE = 0.5**0.5

WINOGRAD = 8
"""What F(4x4, 3x3) may get wrong, in errors of PyTorch's own float32 convolution: 3.5 were measured (root mean
square, whatever the shape), and the largest of many errors spreads more."""

# Batch, input and output channels, height and width.
SHAPES = [
    (1, 128, 128, 32, 32),  # one whole block of tiles
    (5, 256, 256, 8, 8),  # several images in a block, and a block that ends inside an image
    (1, 384, 40, 16, 16),
    (5, 37, 70, 9, 13),  # nothing fits the vectors, the panels or the tiles
    (2, 16, 33, 7, 270),  # a row of tiles longer than a block
    (9, 65, 17, 4, 4),
    (1, 1, 1, 1, 1),
    (5, 3, 2, 1, 6),
]


def _inputs(shape, residual=True):
    batch, channels, outputs, *image = shape
    random = np.random.default_rng(sum(shape))
    weight = random.normal(size=(outputs, channels, 3, 3)) / (3 * channels**0.5)
    values = (random.normal(size=(batch, channels, *image)), weight, random.normal(size=outputs))
    if residual:
        values = (*values, random.normal(size=(batch, outputs, *image)))
    return tuple(value.astype(np.float32) for value in values)


def _model(inputs, scale=SCALE):
    names = NAMES[: len(inputs)]
    graph = helper.make_graph(
        [helper.make_node("Conv3x3", names, ["y"], domain=DOMAIN, scale=scale)],
        "Conv3x3",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * value.ndim)
            for name, value in zip(names, inputs, strict=True)
        ],
        [helper.make_empty_tensor_value_info("y")],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _run(native, inputs, threads=2, scale=SCALE):
    return native.session(_model(inputs, scale), threads).run(None, dict(zip(NAMES, inputs, strict=False)))[0]


def _reference(inputs, dtype, scale=SCALE):
    x, weight, bias, *residual = (torch.from_numpy(value).to(dtype) for value in inputs)
    y = torch.nn.functional.conv2d(x, weight, bias, padding=1)
    return ((y + residual[0] if residual else y) * scale).numpy()


def _agrees(native, inputs, scale=SCALE):
    y, exact = _run(native, inputs, scale=scale), _reference(inputs, torch.float64, scale)
    torch_error = np.abs(_reference(inputs, torch.float32, scale) - exact).max()
    assert y.dtype == np.float32
    assert y.shape == exact.shape
    assert np.abs(y - exact).max() <= WINOGRAD * torch_error + 1e-6


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_real_and_odd_shapes(native, shape):
    _agrees(native, _inputs(shape))


@pytest.mark.parametrize("shape", [(0, 8, 9, 4, 4), (2, 8, 9, 0, 3)], ids=str)
def test_nothing_gives_nothing(native, shape):
    assert _run(native, _inputs(shape)).shape == (shape[0], 9, *shape[3:])


def test_without_a_residual(native):
    _agrees(native, _inputs((2, 48, 40, 9, 18), residual=False), scale=1.0)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(st.integers(1, 4), st.integers(1, 140), st.integers(1, 70), st.integers(1, 40), st.integers(1, 40)))
def test_any_shape(native, shape):
    _agrees(native, _inputs(shape))


@pytest.mark.parametrize("shape", [(5, 70, 40, 16, 16), (7, 64, 33, 9, 10), (3, 16, 16, 70, 66)], ids=str)
def test_bits_depend_neither_on_threads_nor_on_the_batch(native, shape):
    inputs = _inputs(shape)
    y = _run(native, inputs, threads=2)
    np.testing.assert_array_equal(_run(native, inputs, threads=1), y)
    x, weight, bias, residual = inputs
    for n in range(shape[0]):
        one = _run(native, (x[n : n + 1], weight, bias, residual[n : n + 1]))
        np.testing.assert_array_equal(one, y[n : n + 1])


def test_a_pixel_reaches_its_neighbours_alone(native):
    x, weight, bias, residual = _inputs((2, 20, 20, 12, 12))
    before = _run(native, (x, weight, bias, residual))
    x[0, 3, 11, 0] += 100
    changed = _run(native, (x, weight, bias, residual)) != before
    assert changed[0, :, 10:, :2].any(axis=0).all()
    # The pixel is in four tiles at most, whose results are all computed from it.
    assert not changed[0, :, :8].any() and not changed[0, :, :, 4:].any() and not changed[1].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (2, 8, 4)}, r"Conv3x3: x has 3 dimensions, it must be \[N, C, H, W\]"),
        ({"x": (2, 0, 4, 4)}, "Conv3x3: x has no channels"),
        ({"x": (2, 7, 4, 4)}, r"Conv3x3: weight has shape \[6, 8, 3, 3\], it must be \[K, 7, 3, 3\]"),
        ({"weight": (6, 8, 3, 1)}, r"Conv3x3: weight has shape \[6, 8, 3, 1\], it must be \[K, 8, 3, 3\]"),
        ({"bias": (5,)}, r"Conv3x3: bias has shape \[5\], it must be \[6\]"),
        ({"residual": (1, 6, 4, 4)}, r"Conv3x3: residual has shape \[1, 6, 4, 4\], it must be \[2, 6, 4, 4\]"),
    ],
)
def test_what_does_not_fit_is_refused(native, change, message):
    wanted = {"x": (2, 8, 4, 4), "weight": (6, 8, 3, 3), "bias": (6,), "residual": (2, 6, 4, 4), **change}
    with pytest.raises(Exception, match=message):
        _run(native, tuple(np.zeros(shape, np.float32) for shape in wanted.values()))
