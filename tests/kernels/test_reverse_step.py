"""ReverseStep and ReverseMean: their function bodies against their reference, bit for bit, and this against float64."""

from __future__ import annotations

import numpy as np
import onnx.reference
import pytest
import torch

from ddgan_deploy.kernels.reverse_step.spec import COUNT, Coefficients, reference
from tests.kernels.cases import (
    REVERSE_COEFFICIENTS,
    REVERSE_OPS,
    REVERSE_SHAPES,
    posterior_inputs,
    reverse_expected,
    reverse_inputs,
)
from tests.kernels.conftest import op_model, run_body


@pytest.mark.parametrize("coefficients", REVERSE_COEFFICIENTS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", REVERSE_SHAPES, ids=str)
@pytest.mark.parametrize("op", REVERSE_OPS)
def test_function_body(op, shape, dtype, coefficients):
    inputs = reverse_inputs(op, shape, dtype, REVERSE_COEFFICIENTS[coefficients])
    x_prev = run_body(REVERSE_OPS[op], inputs)
    assert x_prev.dtype == np.float32
    np.testing.assert_array_equal(x_prev, reverse_expected(inputs))


@pytest.mark.parametrize("coefficients", REVERSE_COEFFICIENTS)
@pytest.mark.parametrize("op", REVERSE_OPS)
def test_reference_is_the_equation(op, coefficients):
    c0, a, b, lo, hi, ct, s = REVERSE_COEFFICIENTS[coefficients]
    inputs = reverse_inputs(op, (2, 3, 32, 32), "float32", REVERSE_COEFFICIENTS[coefficients])
    out, x, *noise = (value.astype(np.float64) for value in inputs[:-1])
    exact = c0 * np.clip(a * out + b * x, lo, hi) + ct * x + (s * noise[0] if noise else 0)
    np.testing.assert_allclose(reverse_expected(inputs), exact, atol=2e-6)


def test_the_coefficients_as_they_are_give_the_output_itself():
    out, x, _ = (torch.from_numpy(value) for value in posterior_inputs((2, 3, 5, 7), "float32"))
    assert torch.equal(reference(out, x, None, torch.tensor(Coefficients())), out)


@pytest.mark.parametrize("coefficients", REVERSE_COEFFICIENTS)
def test_nan_is_not_hidden(coefficients):
    """By ONNX Runtime, nor by ONNX's own evaluator."""
    out, *rest = reverse_inputs("step", (1, 3, 4, 4), "float16", REVERSE_COEFFICIENTS[coefficients])
    out[0, 0, 0, :3] = np.nan, np.inf, -np.inf
    inputs = (out, *rest)
    expected = reverse_expected(inputs)
    assert np.isnan(expected[0, 0, 0, 0])
    np.testing.assert_array_equal(run_body(REVERSE_OPS["step"], inputs), expected)
    evaluator = onnx.reference.ReferenceEvaluator(op_model(REVERSE_OPS["step"], inputs))
    (x_prev,) = evaluator.run(None, dict(zip(("out", "x", "noise", "coefficients"), inputs, strict=True)))
    np.testing.assert_array_equal(x_prev, expected)


def test_what_does_not_fit_is_refused():
    x, row = torch.zeros(2, 3, 4, 4), torch.zeros(COUNT)
    with pytest.raises(ValueError, match="ReverseStep: out, x and noise must have one shape"):
        reference(x, x, torch.zeros(1, 3, 4, 4), row)
    with pytest.raises(ValueError, match="ReverseMean: out and x must have one shape"):
        reference(x, x[:1], None, row)
    with pytest.raises(ValueError, match=r"ReverseStep: coefficients has shape \[6\], it must be \[7\]"):
        reference(x, x, x, row[1:])
