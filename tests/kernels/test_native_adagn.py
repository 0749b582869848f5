"""AdaGN's and AdaGNSilu's C++ kernel, on every instruction set, against its reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from ddgan_deploy.kernels.adagn.spec import ADAGN, ADAGN_SILU, BY_ACTIVATION
from tests.kernels.cases import ADAGN_LARGE, ADAGN_SHAPES, adagn_errors, adagn_inputs, tolerance
from tests.kernels.conftest import op_model, run_body

MIXES = [("float32", "float32"), ("float16", "float16"), ("float16", "float32"), ("float32", "float16")]
EXTRA = [
    (0, 8, 4, 4, 2),
    (2, 6, 0, 3, 3),
    (2, 96, 1, 1, 1),
    # One group, so that it is split over the threads; 3 chunks, the last of them short.
    (1, 3, 251, 211, 1),
]


def _agrees(native, shape, inputs, activation, epsilon=1e-6):
    y = native.run(BY_ACTIVATION[activation], inputs, groups=shape[-1], epsilon=epsilon)
    error, torch_error = adagn_errors(shape, inputs, activation, y, epsilon)
    assert y.dtype == inputs[0].dtype
    assert y.shape == inputs[0].shape
    assert error <= tolerance(torch_error, str(y.dtype))


@pytest.mark.parametrize("activation", ["none", "silu"])
@pytest.mark.parametrize(("dtype", "style_dtype"), MIXES)
@pytest.mark.parametrize("shape", ADAGN_SHAPES + EXTRA, ids=str)
def test_real_and_odd_shapes(native, shape, dtype, style_dtype, activation):
    _agrees(native, shape, adagn_inputs(shape, dtype, None, style_dtype=style_dtype), activation)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_largest_of_the_published_shapes(native, dtype):
    _agrees(native, ADAGN_LARGE, adagn_inputs(ADAGN_LARGE, dtype, None), "silu")


def test_scale_and_shift_may_be_of_different_types(native):
    shape = (2, 12, 3, 5, 3)
    x, scale, shift = adagn_inputs(shape, "float32", None)
    _agrees(native, shape, (x, scale.astype(np.float16), shift), "silu")


@pytest.mark.parametrize("activation", ["none", "silu"])
def test_one_style_serves_the_whole_batch(native, activation):
    shape = (3, 12, 4, 6, 3)
    x, scale, shift = adagn_inputs(shape, "float32", 1)
    many = adagn_inputs(shape, "float32", None)
    for styles in ((scale, shift), (scale, many[2]), (many[1], shift)):
        _agrees(native, shape, (x, *styles), activation)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_shape(native, data):
    groups = data.draw(st.integers(1, 5))
    shape = (
        data.draw(st.integers(1, 4)),
        groups * data.draw(st.integers(1, 6)),
        data.draw(st.integers(1, 40)),
        data.draw(st.integers(1, 40)),
        groups,
    )
    dtype, style_dtype = data.draw(st.sampled_from(MIXES))
    rows = data.draw(st.sampled_from([1, None]))
    _agrees(
        native,
        shape,
        adagn_inputs(shape, dtype, rows, style_dtype=style_dtype),
        data.draw(st.sampled_from(["none", "silu"])),
    )


def test_constant_groups_give_the_shift(native):
    x = np.full((2, 8, 4, 4), 7.1, np.float32)
    scale, shift = np.full((2, 8), 3.0, np.float32), np.full((2, 8), 0.25, np.float32)
    y = native.run(ADAGN, (x, scale, shift), groups=2, epsilon=1e-6)
    np.testing.assert_array_equal(y, np.float32(0.25))


@pytest.mark.parametrize("shape", [(1, 16, 16, 16, 4), (1, 8, 128, 128, 1)], ids=str)
@pytest.mark.parametrize("spread", [3.0, 0.01])
def test_a_large_mean_does_not_swallow_the_variance(native, shape, spread):
    x, scale, shift = adagn_inputs(shape, "float32", None)
    inputs = ((x * (spread / 3) + 1000).astype(np.float32), scale, shift)
    y = native.run(ADAGN, inputs, groups=shape[-1], epsilon=1e-6)
    error, torch_error = adagn_errors(shape, inputs, "none", y)
    assert error <= min(2 * torch_error, 2e-6) + 1e-6


def test_statistics_are_float32_near_the_edge_of_float16(native):
    x = np.random.default_rng(0).uniform(-60000, 60000, size=(1, 8, 16, 16)).astype(np.float16)
    ones, zeros = np.ones((1, 8), np.float16), np.zeros((1, 8), np.float16)
    y = native.run(ADAGN, (x, ones, zeros), groups=2, epsilon=1e-6).astype(np.float32)
    assert np.isfinite(y).all()
    assert abs(y.std() - 1) < 1e-2


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_silu_far_from_zero(native, dtype):
    # A group of two values is normalized to -1 and 1: the scale puts y wherever it shall be.
    y = np.array([0, 1e-6, 0.5, 1, 5, 10, 17, 40, 87, 88, 127, 1000, 60000], np.float64)
    x = np.tile(np.array([-1, 1], dtype), (len(y), 1)).reshape(1, -1, 1, 2)
    scale = y.astype(dtype)[None]
    out = native.run(ADAGN_SILU, (x, scale, np.zeros_like(scale)), groups=len(y), epsilon=0.0)
    signed = x.reshape(-1, 2).astype(np.float64) * scale.astype(np.float64).T
    exact = signed / (1 + np.exp(-np.clip(signed, -700, 700)))
    np.testing.assert_allclose(out.reshape(-1, 2), exact, rtol=4e-7 if dtype == "float32" else 1e-3, atol=1e-7)


def test_nan_and_infinity_are_not_hidden(native):
    for value in (np.nan, np.inf):
        x, scale, shift = adagn_inputs((2, 8, 5, 5, 2), "float32", None)
        x[0, 0, 0, 0] = value
        y = native.run(ADAGN_SILU, (x, scale, shift), groups=2, epsilon=1e-6)
        assert np.isnan(y[0, :4]).all()
        assert np.isfinite(y[0, 4:]).all() and np.isfinite(y[1]).all()


@pytest.mark.parametrize("shape", [(5, 64, 16, 16, 16), (3, 2, 256, 160, 1), (4, 12, 7, 5, 3)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_bits_depend_neither_on_threads_nor_on_the_batch(native, shape, dtype):
    inputs = adagn_inputs(shape, dtype, None)
    attributes = {"groups": shape[-1], "epsilon": 1e-6}
    y = native.run(ADAGN_SILU, inputs, threads=2, **attributes)
    np.testing.assert_array_equal(native.run(ADAGN_SILU, inputs, threads=1, **attributes), y)
    for n in range(shape[0]):
        np.testing.assert_array_equal(
            native.run(ADAGN_SILU, [v[n : n + 1] for v in inputs], **attributes), y[n : n + 1]
        )


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_tensors_may_start_anywhere(native, dtype):
    shape = (2, 12, 7, 5, 3)
    inputs = adagn_inputs(shape, dtype, None)
    expected = native.run(ADAGN_SILU, inputs, groups=3, epsilon=1e-6)

    def shifted(value):
        buffer = np.empty(value.nbytes + 64, np.uint8)
        start = -buffer.ctypes.data % 64 + 2
        moved = buffer[start : start + value.nbytes].view(value.dtype).reshape(value.shape)
        moved[...] = value
        return moved

    session = native.session(op_model(ADAGN_SILU, inputs, groups=3, epsilon=1e-6))
    binding = session.io_binding()
    y = shifted(np.zeros_like(expected))
    moved = {name: shifted(value) for name, value in zip(("x", "scale", "shift"), inputs, strict=True)}
    for name, value in moved.items():
        binding.bind_input(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
    binding.bind_output("y", "cpu", 0, y.dtype, y.shape, y.ctypes.data)
    session.run_with_iobinding(binding)
    np.testing.assert_array_equal(y, expected)


def test_it_agrees_with_the_function_body(native):
    shape = (2, 12, 7, 5, 3)
    inputs = adagn_inputs(shape, "float32", None)
    attributes = {"groups": 3, "epsilon": 1e-6}
    np.testing.assert_allclose(
        native.run(ADAGN_SILU, inputs, **attributes), run_body(ADAGN_SILU, inputs, **attributes), atol=3e-6
    )


def _older(inputs, groups=2, **attributes):
    """A model of one AdaGN that may say its activation, and has no body to fall back on."""
    model = op_model(ADAGN, inputs, groups=groups, epsilon=1e-6)
    del model.functions[:]
    model.graph.node[0].attribute.extend(helper.make_attribute(*item) for item in attributes.items())
    return model


@pytest.mark.parametrize("activation", ["none", "silu"])
def test_older_files_say_the_activation_of_adagn(native, activation):
    inputs = adagn_inputs((2, 8, 7, 5, 2), "float32", None)
    feeds = dict(zip(("x", "scale", "shift"), inputs, strict=True))
    (y,) = native.session(_older(inputs, activation=activation)).run(None, feeds)
    np.testing.assert_array_equal(y, native.run(BY_ACTIVATION[activation], inputs, groups=2, epsilon=1e-6))


def test_an_unknown_activation_is_refused(native):
    inputs = adagn_inputs((2, 8, 7, 5, 2), "float32", None)
    with pytest.raises(Exception, match="AdaGN: activation 'relu' is not one of none, silu"):
        native.session(_older(inputs, activation="relu"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (2, 8, 4)}, r"x has 3 dimensions, it must be \[N, C, H, W\]"),
        ({"groups": 3}, "8 channels cannot be divided into 3 groups"),
        ({"groups": 0}, "groups is 0, it must be at least 1"),
        ({"scale": (2, 7)}, r"scale has shape \[2, 7\], it must be \[N or 1, 8\]"),
        ({"scale": (3, 8)}, r"scale has shape \[3, 8\], it must be \[N or 1, 8\]"),
        ({"shift": (8,)}, r"shift has shape \[8\], it must be \[N or 1, 8\]"),
    ],
)
@pytest.mark.parametrize("spec", [ADAGN, ADAGN_SILU], ids=lambda spec: spec.name)
def test_what_does_not_fit_is_refused(native, spec, change, message):
    wanted = {"x": (2, 8, 4, 4), "scale": (2, 8), "shift": (2, 8), "groups": 2, **change}
    inputs = {name: np.zeros(wanted[name], np.float32) for name in ("x", "scale", "shift")}
    model = op_model(spec, list(inputs.values()), groups=wanted["groups"], epsilon=1e-6)
    with pytest.raises(Exception, match=f"{spec.name}: {message}"):
        native.session(model).run(None, inputs)
