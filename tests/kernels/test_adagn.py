"""AdaGN and AdaGNSilu: their function bodies against their reference, over real and odd shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddgan_deploy.kernels.adagn.spec import ADAGN, ADAGN_SILU, BY_ACTIVATION, adagn, reference
from tests.kernels.cases import ADAGN_SHAPES, adagn_errors, adagn_inputs, tolerance
from tests.kernels.conftest import run_body


@pytest.mark.parametrize("activation", ["none", "silu"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", ADAGN_SHAPES, ids=str)
def test_function_body(shape, dtype, activation):
    inputs = adagn_inputs(shape, dtype, None)
    y = run_body(BY_ACTIVATION[activation], inputs, groups=shape[-1], epsilon=1e-6)
    error, torch_error = adagn_errors(shape, inputs, activation, y)
    assert y.dtype == inputs[0].dtype
    assert y.shape == inputs[0].shape
    assert error <= tolerance(torch_error, dtype)


@pytest.mark.parametrize("activation", ["none", "silu"])
def test_one_style_serves_the_whole_batch(activation):
    shape = (3, 12, 4, 6, 3)
    inputs = adagn_inputs(shape, "float32", 1)
    y = run_body(BY_ACTIVATION[activation], inputs, groups=3, epsilon=1e-6)
    expected = reference(*map(torch.from_numpy, inputs), groups=3, activation=activation).numpy()
    np.testing.assert_allclose(y, expected, atol=2e-6)


def test_style_may_be_of_another_type_than_x():
    x, scale, shift = adagn_inputs((2, 8, 4, 4, 2), "float32", None)
    inputs = (x.astype(np.float16), scale, shift)
    y = run_body(ADAGN_SILU, inputs, groups=2, epsilon=1e-6)
    expected = reference(*map(torch.from_numpy, inputs), groups=2, activation="silu").numpy()
    assert y.dtype == np.float16
    np.testing.assert_allclose(y.astype(np.float32), expected.astype(np.float32), atol=4e-3)


def test_constant_groups_give_the_shift():
    x = np.full((2, 8, 4, 4), 7.0, np.float32)
    scale, shift = np.full((2, 8), 3.0, np.float32), np.full((2, 8), 0.25, np.float32)
    y = run_body(ADAGN, (x, scale, shift), groups=2, epsilon=1e-6)
    np.testing.assert_allclose(y, 0.25, atol=1e-3)


def test_statistics_are_float32_near_the_edge_of_float16():
    x = np.random.default_rng(0).uniform(-60000, 60000, size=(1, 8, 16, 16)).astype(np.float16)
    ones, zeros = np.ones((1, 8), np.float16), np.zeros((1, 8), np.float16)
    y = run_body(ADAGN, (x, ones, zeros), groups=2, epsilon=1e-6).astype(np.float32)
    assert np.isfinite(y).all()
    assert abs(y.std() - 1) < 1e-2


def test_a_large_mean_does_not_swallow_the_variance():
    shape = (1, 16, 16, 16, 4)
    inputs = adagn_inputs(shape, "float32", None, offset=1000.0)
    y = run_body(ADAGN, inputs, groups=4, epsilon=1e-6)
    error, torch_error = adagn_errors(shape, inputs, "none", y)
    assert error <= 2 * torch_error + 1e-3


def test_the_model_s_call_is_the_reference_and_differentiable():
    x = torch.randn(2, 8, 4, 4, requires_grad=True)
    scale, shift = torch.randn(2, 8), torch.randn(2, 8)
    y = adagn(x, scale, shift, 2, activation="silu")
    assert torch.equal(y, reference(x, scale, shift, 2, activation="silu"))
    y.sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 8, 4)}, "3 dimensions"),
        ({"groups": 3}, "8 channels cannot be divided into 3 groups"),
        ({"groups": 0}, "0 groups"),
        ({"scale": torch.zeros(2, 7)}, r"scale has shape \[2, 7\]"),
        ({"shift": torch.zeros(8)}, r"shift has shape \[8\]"),
        ({"activation": "relu"}, "'relu'"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    arguments = {
        "x": torch.zeros(2, 8, 4, 4),
        "scale": torch.zeros(2, 8),
        "shift": torch.zeros(2, 8),
        "groups": 2,
        "activation": "silu",
    }
    with pytest.raises(ValueError, match=message):
        reference(**{**arguments, **change})
