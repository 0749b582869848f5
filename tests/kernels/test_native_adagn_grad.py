"""The C++ kernel of AdaGNGrad and AdaGNSiluGrad, on every instruction set, against PyTorch's own gradient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddgan_deploy.kernels.adagn_grad.spec import ADAGN_GRAD, ADAGN_SILU_GRAD, BY_ACTIVATION
from tests.kernels.cases import ADAGN_GRAD_SHAPES, ADAGN_LARGE, adagn_grad_errors, adagn_grad_inputs, tolerance
from tests.kernels.conftest import op_model

MIXES = [("float32", "float32"), ("float16", "float16"), ("float16", "float32"), ("float32", "float16")]
EXTRA = [
    (0, 8, 4, 4, 2),
    (2, 6, 0, 3, 3),
    (2, 96, 1, 1, 1),
    # One group, so that it is split over the threads; 3 chunks, the last of them short.
    (1, 3, 251, 211, 1),
]


def _agrees(native, shape, inputs, activation, epsilon=1e-6):
    dx = native.run(BY_ACTIVATION[activation], inputs, groups=shape[-1], epsilon=epsilon)
    error, torch_error = adagn_grad_errors(shape, inputs, activation, dx, epsilon)
    assert dx.dtype == inputs[1].dtype
    assert dx.shape == inputs[1].shape
    assert error <= tolerance(torch_error, str(dx.dtype))


@pytest.mark.parametrize(
    ("dtype", "style_dtype", "activation"),
    [
        ("float32", "float32", "silu"),
        ("float32", "float32", "none"),
        ("float16", "float16", "silu"),
        ("float16", "float32", "silu"),
        ("float32", "float16", "none"),
    ],
)
@pytest.mark.parametrize("shape", ADAGN_GRAD_SHAPES + EXTRA, ids=str)
def test_real_and_odd_shapes(native, shape, dtype, style_dtype, activation):
    _agrees(native, shape, adagn_grad_inputs(shape, dtype, None, style_dtype=style_dtype), activation)


def test_the_largest_of_the_published_shapes(native):
    _agrees(native, ADAGN_LARGE, adagn_grad_inputs(ADAGN_LARGE, "float16", None), "silu", 1e-5)


@pytest.mark.parametrize("activation", ["none", "silu"])
def test_one_style_serves_the_whole_batch(native, activation):
    shape = (3, 12, 4, 6, 3)
    dy, x, scale, shift = adagn_grad_inputs(shape, "float32", 1)
    many = adagn_grad_inputs(shape, "float32", None)
    for styles in ((scale, shift), (scale, many[3]), (many[2], shift)):
        _agrees(native, shape, (dy, x, *styles), activation)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_shape(native, data):
    groups = data.draw(st.integers(1, 5))
    channels = groups * data.draw(st.integers(1, 6))
    sides = data.draw(st.tuples(*[st.integers(1, 40)] * 2))
    shape = (data.draw(st.integers(1, 4)), channels, *sides, groups)
    dtype, style_dtype = data.draw(st.sampled_from(MIXES))
    inputs = adagn_grad_inputs(shape, dtype, data.draw(st.sampled_from([1, None])), style_dtype=style_dtype)
    # Groups of one element or two have next to no deviation but epsilon's: no gradient is left, only rounding.
    _agrees(native, shape, inputs, data.draw(st.sampled_from(["none", "silu"])), epsilon=1e-2)


@pytest.mark.parametrize("shape", [(1, 16, 16, 16, 4), (1, 8, 128, 128, 1)], ids=str)
@pytest.mark.parametrize("spread", [3.0, 0.01])
def test_a_large_mean_does_not_swallow_the_variance(native, shape, spread):
    dy, z, scale, shift = adagn_grad_inputs(shape, "float32", None)
    # dy goes with x, so that the part along z, which stands on x's distance to the mean, is a large one.
    inputs = (dy + z, (z * (spread / 3) + 1000).astype(np.float32), scale, shift)
    dx = native.run(ADAGN_SILU_GRAD, inputs, groups=shape[-1], epsilon=1e-6)
    error, _ = adagn_grad_errors(shape, inputs, "silu", dx)
    assert error <= 1e-6 * np.abs(dx).max()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_silu_far_from_zero(native, dtype):
    # A group of -1, 1, -1, 1 is its own z: the scale puts a wherever it shall be. Of this dy, u and u z have no mean.
    scale = np.array([[0, 1e-6, 0.5, 1, 5, 10, 17, 40, 87, 88, 127, 1000, 60000]], dtype)
    x, dy = (np.tile(np.array(row, dtype), (scale.size, 1)) for row in ([-1, 1, -1, 1], [1, 1, -1, -1]))
    images = [value.reshape(1, -1, 1, 4) for value in (dy, x)]
    dx = native.run(ADAGN_SILU_GRAD, (*images, scale, np.zeros_like(scale)), groups=scale.size, epsilon=0.0)
    slope = scale.astype(np.float64).T
    a = slope * x
    s = 1 / (1 + np.exp(-np.clip(a, -700, 700)))
    close = (2e-6, 1e-6) if dtype == "float32" else (1e-3, 1e-6)
    np.testing.assert_allclose(dx.reshape(-1, 4), slope * dy * (s + a * s * (1 - s)), *close)


def test_nan_and_infinity_are_not_hidden(native):
    for value in (np.nan, np.inf):
        for place in (0, 1):
            inputs = adagn_grad_inputs((2, 8, 5, 5, 2), "float32", None)
            inputs[place][0, 0, 0, 0] = value
            dx = native.run(ADAGN_SILU_GRAD, inputs, groups=2, epsilon=1e-6)
            assert np.isnan(dx[0, :4]).any()
            assert np.isfinite(dx[0, 4:]).all() and np.isfinite(dx[1]).all()


@pytest.mark.parametrize("shape", [(5, 64, 16, 16, 16), (3, 2, 256, 160, 1), (4, 12, 7, 5, 3)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_bits_depend_neither_on_threads_nor_on_the_batch(native, shape, dtype):
    inputs = adagn_grad_inputs(shape, dtype, None)
    attributes = {"groups": shape[-1], "epsilon": 1e-6}
    dx = native.run(ADAGN_SILU_GRAD, inputs, threads=2, **attributes)
    np.testing.assert_array_equal(native.run(ADAGN_SILU_GRAD, inputs, threads=1, **attributes), dx)
    for n in range(shape[0]):
        alone = native.run(ADAGN_SILU_GRAD, [v[n : n + 1] for v in inputs], **attributes)
        np.testing.assert_array_equal(alone, dx[n : n + 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dy": (1, 8, 4, 4)}, r"dy and x must have one shape, they have \[1, 8, 4, 4\] and \[2, 8, 4, 4\]"),
        ({"x": (2, 8, 4)}, r"x has 3 dimensions, it must be \[N, C, H, W\]"),
        ({"groups": 3}, "8 channels cannot be divided into 3 groups"),
        ({"groups": 0}, "groups is 0, it must be at least 1"),
        ({"scale": (2, 7)}, r"scale has shape \[2, 7\], it must be \[N or 1, 8\]"),
        ({"shift": (8,)}, r"shift has shape \[8\], it must be \[N or 1, 8\]"),
    ],
)
@pytest.mark.parametrize("spec", [ADAGN_GRAD, ADAGN_SILU_GRAD], ids=lambda spec: spec.name)
def test_what_does_not_fit_is_refused(native, spec, change, message):
    wanted = {"dy": (2, 8, 4, 4), "x": (2, 8, 4, 4), "scale": (2, 8), "shift": (2, 8), "groups": 2, **change}
    inputs = {name: np.zeros(wanted[name], np.float32) for name, _ in spec.inputs}
    model = op_model(spec, list(inputs.values()), groups=wanted["groups"], epsilon=1e-6)
    with pytest.raises(Exception, match=f"{spec.name}: {message}"):
        native.session(model).run(None, inputs)
