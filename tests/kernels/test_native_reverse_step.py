"""The C++ kernels of ReverseStep and ReverseMean, on every instruction set: the bits of the reference."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernels.cases import (
    REVERSE_COEFFICIENTS,
    REVERSE_OPS,
    REVERSE_SHAPES,
    reverse_expected,
    reverse_inputs,
)
from tests.kernels.conftest import op_model


@pytest.mark.parametrize("coefficients", REVERSE_COEFFICIENTS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [*REVERSE_SHAPES, (0, 3, 4, 4), (1, 1, 1, 1), (4, 3, 64, 65)], ids=str)
@pytest.mark.parametrize("op", REVERSE_OPS)
def test_real_and_odd_shapes(native, op, shape, dtype, coefficients):
    inputs = reverse_inputs(op, shape, dtype, REVERSE_COEFFICIENTS[coefficients])
    x_prev = native.run(REVERSE_OPS[op], inputs)
    assert x_prev.dtype == np.float32 and x_prev.shape == shape
    np.testing.assert_array_equal(x_prev, reverse_expected(inputs))


@pytest.mark.parametrize("coefficients", REVERSE_COEFFICIENTS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_not_hidden(native, value, coefficients):
    """In whole vectors, and in what is left of one."""
    inputs = reverse_inputs("step", (1, 1, 1, 35), "float32", REVERSE_COEFFICIENTS[coefficients])
    inputs[0][..., ::3] = value
    x_prev = native.run(REVERSE_OPS["step"], inputs)
    np.testing.assert_array_equal(x_prev, reverse_expected(inputs))
    assert np.isnan(x_prev[..., ::3]).all() == np.isnan(value)


def test_bits_depend_on_no_threads(native):
    inputs = reverse_inputs("step", (5, 3, 61, 67), "float16")
    one, two = (native.run(REVERSE_OPS["step"], inputs, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("op", "shapes", "message"),
    [
        (
            "step",
            [(2, 3, 4, 4), (2, 3, 4, 4), (1, 3, 4, 4), (7,)],
            r"ReverseStep: out, x and noise must have one shape, they have "
            r"\[2, 3, 4, 4\], \[2, 3, 4, 4\] and \[1, 3, 4, 4\]",
        ),
        (
            "mean",
            [(2, 3, 4, 4), (1, 3, 4, 4), (7,)],
            r"ReverseMean: out and x must have one shape, they have \[2, 3, 4, 4\] and \[1, 3, 4, 4\]",
        ),
        ("mean", [(2, 3), (2, 3), (7,)], r"ReverseMean: out has 2 dimensions, it must be \[N, C, H, W\]"),
        ("step", [(2, 3, 4, 4)] * 3 + [(1, 7)], r"ReverseStep: coefficients has shape \[1, 7\], it must be \[7\]"),
    ],
)
def test_what_does_not_fit_is_refused(native, op, shapes, message):
    spec = REVERSE_OPS[op]
    inputs = {name: np.zeros(shape, np.float32) for (name, _), shape in zip(spec.inputs, shapes, strict=True)}
    with pytest.raises(Exception, match=message):
        native.session(op_model(spec, list(inputs.values()))).run(None, inputs)
