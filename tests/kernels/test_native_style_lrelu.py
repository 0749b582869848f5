"""The C++ kernel of StyleLrelu, on every instruction set: the bits of the reference."""

from __future__ import annotations

import numpy as np
import pytest

from ddgan_deploy.kernels.style_lrelu.spec import SPEC
from tests.kernels.cases import STYLE_FORMS, STYLE_NOISES, STYLE_SHAPES, style_expected, style_inputs
from tests.kernels.conftest import op_model


@pytest.mark.parametrize("noise", STYLE_NOISES)
@pytest.mark.parametrize("form", STYLE_FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [*STYLE_SHAPES, (0, 3, 4, 4), (2, 3, 0, 4), (1, 2, 129, 257)], ids=str)
def test_real_and_odd_shapes(native, shape, dtype, form, noise):
    alpha, limit = STYLE_FORMS[form]
    inputs = style_inputs(shape, dtype, noise, limit)
    y = native.run(SPEC, inputs, alpha=alpha)
    assert y.dtype == dtype and y.shape == shape
    np.testing.assert_array_equal(y, style_expected(inputs, alpha))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_not_hidden(native, value):
    """In whole vectors, and in what is left of one."""
    inputs = style_inputs((1, 1, 1, 35), "float32")
    inputs[0][..., ::3] = value
    y = native.run(SPEC, inputs, alpha=0.2)
    np.testing.assert_array_equal(y, style_expected(inputs))
    assert np.isnan(y[..., ::3]).all() == np.isnan(value)


def test_bits_depend_on_no_threads_and_no_batch(native):
    inputs = style_inputs((5, 3, 61, 67), "float16")
    one, two = (native.run(SPEC, inputs, threads=threads, alpha=0.2) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)
    x, scale, noise, *rest = inputs
    alone = native.run(SPEC, (x[3:4], scale[3:4], noise[3:4], *rest), alpha=0.2)
    np.testing.assert_array_equal(alone, one[3:4])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 3), (2, 3), (1, 1, 1, 1), (3,), (1,)], r"x has 2 dimensions, it must be \[N, C, H, W\]"),
        ([(2, 3, 4, 4), (1, 3), (1, 1, 1, 1), (3,), (1,)], r"scale has shape \[1, 3\], it must be \[2, 3\]"),
        (
            [(2, 3, 4, 4), (2, 3), (1, 1, 4, 1), (3,), (1,)],
            r"noise has shape \[1, 1, 4, 1\], it must be \[2, 1, 4, 4\] or \[1, 1, 4, 4\] or \[1, 1, 1, 1\]",
        ),
        ([(2, 3, 4, 4), (2, 3), (1, 1, 1, 1), (2,), (1,)], r"bias has shape \[2\], it must be \[3\]"),
        ([(2, 3, 4, 4), (2, 3), (1, 1, 1, 1), (3,), (2,)], r"limit has shape \[2\], it must be \[1\]"),
    ],
)
def test_what_does_not_fit_is_refused(native, shapes, message):
    inputs = {name: np.zeros(shape, np.float32) for (name, _), shape in zip(SPEC.inputs, shapes, strict=True)}
    with pytest.raises(Exception, match=f"StyleLrelu: {message}"):
        native.session(op_model(SPEC, list(inputs.values()), alpha=0.2)).run(None, inputs)
