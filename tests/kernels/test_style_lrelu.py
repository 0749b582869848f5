"""StyleLrelu: its function body against its reference, bit for bit, and this against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddgan_deploy.kernels.style_lrelu.spec import SPEC, reference
from tests.kernels.cases import STYLE_FORMS, STYLE_NOISES, STYLE_SHAPES, style_expected, style_inputs
from tests.kernels.conftest import run_body


@pytest.mark.parametrize("noise", STYLE_NOISES)
@pytest.mark.parametrize("form", STYLE_FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", STYLE_SHAPES, ids=str)
def test_function_body(shape, dtype, form, noise):
    alpha, limit = STYLE_FORMS[form]
    inputs = style_inputs(shape, dtype, noise, limit)
    y = run_body(SPEC, inputs, alpha=alpha)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, style_expected(inputs, alpha))


@pytest.mark.parametrize("form", STYLE_FORMS)
def test_reference_is_the_equation(form):
    alpha, limit = STYLE_FORMS[form]
    inputs = style_inputs((2, 5, 8, 8), "float32", "each", limit)
    x, scale, noise, bias, _ = (value.astype(np.float64) for value in inputs)
    v = x * scale[:, :, None, None] + noise + bias[:, None, None]
    exact = np.clip(np.where(v < 0, alpha * v, v), -limit, limit)
    np.testing.assert_allclose(style_expected(inputs, alpha), exact, atol=2e-6)


def test_nan_is_not_hidden():
    inputs = style_inputs((1, 3, 4, 4), "float16")
    inputs[0][0, 0, 0, :3] = np.nan, np.inf, -np.inf
    expected = style_expected(inputs)
    assert np.isnan(expected[0, 0, 0, 0])
    np.testing.assert_array_equal(run_body(SPEC, inputs, alpha=0.2), expected)


@pytest.mark.parametrize(
    ("position", "shape", "says"),
    [
        (1, (1, 3), r"scale has shape \[1, 3\], it must be \[2, 3\]"),
        (2, (2, 3, 4, 4), r"noise has shape .* must be \[2, 1, 4, 4\] or \[1, 1, 4, 4\] or \[1, 1, 1, 1\]"),
        (3, (4,), r"bias has shape \[4\], it must be \[3\]"),
        (4, (), r"limit has shape \[\], it must be \[1\]"),
    ],
)
def test_what_does_not_fit_is_refused(position, shape, says):
    inputs = list(map(torch.from_numpy, style_inputs((2, 3, 4, 4), "float32")))
    inputs[position] = torch.zeros(shape)
    with pytest.raises(ValueError, match=f"StyleLrelu: {says}"):
        reference(*inputs)
