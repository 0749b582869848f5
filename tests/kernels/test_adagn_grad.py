"""AdaGNGrad and AdaGNSiluGrad: their function bodies against PyTorch's own gradient, over real and odd shapes."""

from __future__ import annotations

import numpy as np
import onnx.reference
import pytest
import torch

from ddgan_deploy.kernels.adagn import spec as adagn
from ddgan_deploy.kernels.adagn_grad.spec import ADAGN_GRAD, ADAGN_SILU_GRAD, BY_ACTIVATION, adagn_grad, reference
from tests.kernels.cases import ADAGN_GRAD_SHAPES, adagn_grad_errors, adagn_grad_inputs, tolerance
from tests.kernels.conftest import op_model, run_body

NAMES = ("dy", "x", "scale", "shift")


@pytest.mark.parametrize("activation", ["none", "silu"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", ADAGN_GRAD_SHAPES, ids=str)
def test_function_body(shape, dtype, activation):
    inputs = adagn_grad_inputs(shape, dtype, None)
    dx = run_body(BY_ACTIVATION[activation], inputs, groups=shape[-1], epsilon=1e-6)
    error, torch_error = adagn_grad_errors(shape, inputs, activation, dx)
    assert dx.dtype == inputs[1].dtype
    assert dx.shape == inputs[1].shape
    assert error <= tolerance(torch_error, dtype)


@pytest.mark.parametrize("activation", ["none", "silu"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", ADAGN_GRAD_SHAPES, ids=str)
def test_reference(shape, dtype, activation):
    inputs = adagn_grad_inputs(shape, dtype, None)
    dx = reference(*map(torch.from_numpy, inputs), groups=shape[-1], activation=activation)
    error, torch_error = adagn_grad_errors(shape, inputs, activation, dx.numpy())
    assert dx.dtype == torch.from_numpy(inputs[1]).dtype
    assert error <= tolerance(torch_error, dtype)


@pytest.mark.parametrize("activation", ["none", "silu"])
def test_it_is_the_gradient_of_adagn(activation):
    dy, x, scale, shift = map(torch.from_numpy, adagn_grad_inputs((2, 12, 7, 5, 3), "float32", None))
    y = adagn.reference(x.requires_grad_(), scale, shift, 3, 0.5, activation)
    (expected,) = torch.autograd.grad(y, x, dy)
    dx = adagn_grad(dy, x.detach(), scale, shift, 3, 0.5, activation)
    torch.testing.assert_close(dx, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("activation", ["none", "silu"])
def test_one_style_serves_the_whole_batch(activation):
    shape = (3, 12, 4, 6, 3)
    inputs = adagn_grad_inputs(shape, "float32", 1)
    dx = run_body(BY_ACTIVATION[activation], inputs, groups=3, epsilon=1e-6)
    error, torch_error = adagn_grad_errors(shape, inputs, activation, dx)
    assert error <= tolerance(torch_error, "float32")


def test_style_may_be_of_another_type_than_x():
    shape = (2, 8, 4, 4, 2)
    inputs = adagn_grad_inputs(shape, "float16", None, style_dtype="float32")
    dx = run_body(ADAGN_SILU_GRAD, inputs, groups=2, epsilon=1e-6)
    error, torch_error = adagn_grad_errors(shape, inputs, "silu", dx)
    assert dx.dtype == np.float16
    assert error <= tolerance(torch_error, "float16")


def test_epsilon_is_that_of_the_node():
    shape = (2, 8, 4, 4, 2)
    inputs = adagn_grad_inputs(shape, "float32", None)
    dx = run_body(ADAGN_SILU_GRAD, inputs, groups=2, epsilon=3.0)
    error, torch_error = adagn_grad_errors(shape, inputs, "silu", dx, epsilon=3.0)
    assert error <= tolerance(torch_error, "float32")


@pytest.mark.parametrize("spec", [ADAGN_GRAD, ADAGN_SILU_GRAD], ids=lambda spec: spec.name)
def test_the_reference_evaluator_reads_the_body_the_same(spec):
    """An attribute as a tensor is what readers of ONNX differ about."""
    inputs = adagn_grad_inputs((2, 12, 4, 6, 3), "float32", None)
    evaluator = onnx.reference.ReferenceEvaluator(op_model(spec, inputs, groups=3, epsilon=0.5))
    (dx,) = evaluator.run(None, dict(zip(NAMES, inputs, strict=True)))
    np.testing.assert_allclose(dx, run_body(spec, inputs, groups=3, epsilon=0.5), atol=2e-6)


@pytest.mark.parametrize("activation", ["none", "silu"])
def test_what_the_norm_takes_out_has_no_gradient(activation):
    """dx is orthogonal, in each group, to the ones and to z."""
    shape = (2, 12, 7, 5, 3)
    inputs = adagn_grad_inputs(shape, "float32", None)
    dx = run_body(BY_ACTIVATION[activation], inputs, groups=3, epsilon=0.0)
    dx, x = (value.reshape(2, 3, -1).astype(np.float64) for value in (dx, inputs[1]))
    z = x - x.mean(-1, keepdims=True)
    for other in (np.ones_like(z), z):
        np.testing.assert_allclose((dx * other).mean(-1), 0, atol=1e-6)


def test_a_large_mean_does_not_swallow_the_variance():
    shape = (1, 16, 16, 16, 4)
    inputs = adagn_grad_inputs(shape, "float32", None, offset=1000.0)
    dx = run_body(ADAGN_SILU_GRAD, inputs, groups=4, epsilon=1e-6)
    error, torch_error = adagn_grad_errors(shape, inputs, "silu", dx)
    assert error <= 2 * torch_error + 1e-3


def test_statistics_are_float32_near_the_edge_of_float16():
    dy, x, scale, shift = adagn_grad_inputs((1, 8, 16, 16, 2), "float16", None)
    x = np.random.default_rng(0).uniform(-60000, 60000, size=x.shape).astype(np.float16)
    dy = (dy * 1e4).astype(np.float16)
    dx = run_body(ADAGN_SILU_GRAD, (dy, x, scale, shift), groups=2, epsilon=1e-6).astype(np.float32)
    assert np.isfinite(dx).all()
    error, torch_error = adagn_grad_errors((1, 8, 16, 16, 2), (dy, x, scale, shift), "silu", dx)
    assert error <= tolerance(torch_error, "float16")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 8, 4), "dy": torch.zeros(2, 8, 4)}, "x has 3 dimensions"),
        ({"dy": torch.zeros(1, 8, 4, 4)}, r"dy and x must .* they are torch.float32 \[1, 8, 4, 4\] and torch.float32"),
        ({"dy": torch.zeros(2, 8, 4, 4).half()}, r"they are torch.float16 \[2, 8, 4, 4\] and torch.float32"),
        ({"groups": 3}, "8 channels cannot be divided into 3 groups"),
        ({"scale": torch.zeros(2, 7)}, r"scale has shape \[2, 7\]"),
        ({"shift": torch.zeros(8)}, r"shift has shape \[8\]"),
        ({"activation": "relu"}, "'relu'"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    image, style = torch.zeros(2, 8, 4, 4), torch.zeros(2, 8)
    arguments = {"dy": image, "x": image, "scale": style, "shift": style, "groups": 2, "activation": "silu"}
    with pytest.raises(ValueError, match=f"AdaGNGrad: .*{message}"):
        reference(**{**arguments, **change})
