"""The C++ kernel of older files' PosteriorSample, on every instruction set, against its equation."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernels.cases import (
    POSTERIOR_COEFFICIENTS,
    POSTERIOR_SHAPES,
    posterior_errors,
    posterior_inputs,
    tolerance,
)
from tests.kernels.conftest import op_model
from tests.kernels.older_ops import POSTERIOR

EXTRA = [(0, 3, 4, 4), (1, 1, 1, 1), (4, 3, 64, 65)]


@pytest.mark.parametrize("squash", ["none", "tanh"])
@pytest.mark.parametrize("raw_dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", POSTERIOR_SHAPES + EXTRA, ids=str)
def test_real_and_odd_shapes(native, shape, raw_dtype, squash):
    inputs = posterior_inputs(shape, raw_dtype)
    x_prev = native.run(POSTERIOR, inputs, **POSTERIOR_COEFFICIENTS, squash=squash)
    # The op computes in float32 whatever x0_raw is, so it is held to PyTorch's float32.
    error, torch_error = posterior_errors(
        (inputs[0].astype(np.float32), *inputs[1:]), POSTERIOR_COEFFICIENTS, squash, x_prev
    )
    assert x_prev.dtype == np.float32
    assert x_prev.shape == shape
    assert error <= tolerance(torch_error, "float32")


def test_tanh_is_exact_to_a_few_units_everywhere(native):
    magnitudes = np.concatenate([np.geomspace(1e-38, 20, 400_001), [0.0, 1e-45, 1e30, np.inf]]).astype(np.float32)
    raw = np.concatenate([magnitudes, -magnitudes]).reshape(1, 1, 1, -1)
    zeros = np.zeros_like(raw)
    x_0 = native.run(POSTERIOR, (raw, zeros, zeros), coef_x0=1.0, coef_xt=0.0, sigma=0.0, squash="tanh")
    np.testing.assert_array_max_ulp(x_0, np.tanh(raw.astype(np.float64)).astype(np.float32), maxulp=3)


def test_every_float16_is_read_exactly(native):
    raw = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(1, 1, 256, 256)
    zeros = np.zeros(raw.shape, np.float32)
    x_0 = native.run(POSTERIOR, (raw, zeros, zeros), coef_x0=1.0, coef_xt=0.0, sigma=0.0, squash="none")
    np.testing.assert_array_equal(x_0, raw.astype(np.float32))


def test_bits_depend_neither_on_threads_nor_on_the_batch(native):
    shape = (5, 3, 61, 67)
    inputs = posterior_inputs(shape, "float16")
    attributes = {**POSTERIOR_COEFFICIENTS, "squash": "tanh"}
    x_prev = native.run(POSTERIOR, inputs, threads=2, **attributes)
    np.testing.assert_array_equal(native.run(POSTERIOR, inputs, threads=1, **attributes), x_prev)
    for n in range(shape[0]):
        alone = native.run(POSTERIOR, [value[n : n + 1] for value in inputs], **attributes)
        np.testing.assert_array_equal(alone, x_prev[n : n + 1])


@pytest.mark.parametrize(
    ("shapes", "squash", "message"),
    [
        (
            [(2, 3, 4, 4), (2, 3, 4, 4), (1, 3, 4, 4)],
            "none",
            r"PosteriorSample: x0_raw, x_t and noise must have one shape, they have "
            r"\[2, 3, 4, 4\], \[2, 3, 4, 4\] and \[1, 3, 4, 4\]",
        ),
        ([(2, 3)] * 3, "none", r"PosteriorSample: x0_raw has 2 dimensions, it must be \[N, C, H, W\]"),
        ([(2, 3, 4, 4)] * 3, "relu", "PosteriorSample: squash 'relu' is not one of none, tanh"),
    ],
)
def test_what_does_not_fit_is_refused(native, shapes, squash, message):
    inputs = dict(zip(("x0_raw", "x_t", "noise"), (np.zeros(s, np.float32) for s in shapes), strict=True))
    model = op_model(POSTERIOR, list(inputs.values()), **POSTERIOR_COEFFICIENTS, squash="none")
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "squash":
            attribute.s = squash.encode()
    with pytest.raises(Exception, match=message):
        native.session(model).run(None, inputs)
