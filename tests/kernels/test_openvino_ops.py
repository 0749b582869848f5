"""The fused ops in OpenVINO's operations, against their references."""

from __future__ import annotations

import io

import numpy as np
import openvino
import pytest
from openvino.frontend.onnx import ConversionExtension

from ddgan_deploy.kernels import ops
from ddgan_deploy.kernels.adagn.spec import ADAGN, ADAGN_SILU, BY_ACTIVATION
from ddgan_deploy.kernels.adagn_grad.spec import BY_ACTIVATION as GRAD_BY_ACTIVATION
from ddgan_deploy.kernels.op import DOMAIN
from ddgan_deploy.kernels.style_lrelu.spec import SPEC as STYLE_LRELU
from tests.kernels.cases import (
    ADAGN_GRAD_SHAPES,
    ADAGN_LARGE,
    ADAGN_SHAPES,
    POSTERIOR_COEFFICIENTS,
    POSTERIOR_SHAPES,
    REVERSE_COEFFICIENTS,
    REVERSE_OPS,
    REVERSE_SHAPES,
    STYLE_FORMS,
    STYLE_NOISES,
    STYLE_SHAPES,
    adagn_errors,
    adagn_grad_errors,
    adagn_grad_inputs,
    adagn_inputs,
    posterior_errors,
    posterior_inputs,
    reverse_expected,
    reverse_inputs,
    style_expected,
    style_inputs,
    tolerance,
)
from tests.kernels.conftest import op_model
from tests.kernels.older_ops import OLDER_ADAGN, POSTERIOR


@pytest.fixture(scope="module")
def core():
    core = openvino.Core()
    for name, convert in ops.openvino_converters().items():
        core.add_extension(ConversionExtension(name, DOMAIN, convert))
    return core


def _run(core, spec, inputs, **attributes):
    file = io.BytesIO(op_model(spec, inputs, **attributes).SerializeToString())
    compiled = core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    named = {name: value for (name, _), value in zip(spec.inputs, inputs, strict=True)}
    # Without what the op does not read: OpenVINO leaves out such an input of a graph.
    return compiled({value.any_name: named[value.any_name] for value in compiled.inputs})[0]


@pytest.mark.parametrize("activation", ["none", "silu"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", ADAGN_SHAPES, ids=str)
def test_adagn(core, shape, dtype, activation):
    inputs = adagn_inputs(shape, dtype, None)
    y = _run(core, BY_ACTIVATION[activation], inputs, groups=shape[-1], epsilon=1e-6)
    error, torch_error = adagn_errors(shape, inputs, activation, y)
    assert y.dtype == dtype
    assert error <= tolerance(torch_error, dtype)


def test_the_largest_adagn(core):
    inputs = adagn_inputs(ADAGN_LARGE, "float32", None)
    y = _run(core, ADAGN_SILU, inputs, groups=ADAGN_LARGE[-1], epsilon=1e-6)
    error, torch_error = adagn_errors(ADAGN_LARGE, inputs, "silu", y)
    assert error <= tolerance(torch_error, "float32")


def test_adagn_takes_one_style_for_the_whole_batch(core):
    shape = (3, 12, 4, 6, 3)
    inputs = adagn_inputs(shape, "float32", 1)
    y = _run(core, ADAGN, inputs, groups=3, epsilon=1e-6)
    error, torch_error = adagn_errors(shape, inputs, "none", y)
    assert error <= tolerance(torch_error, "float32")


def test_adagn_uses_its_epsilon(core):
    shape = (2, 12, 7, 5, 3)
    inputs = adagn_inputs(shape, "float32", None)
    y = _run(core, ADAGN, inputs, groups=3, epsilon=3.0)
    error, torch_error = adagn_errors(shape, inputs, "none", y, epsilon=3.0)
    assert error <= tolerance(torch_error, "float32")


@pytest.mark.parametrize("activation", ["none", "silu"])
def test_older_files_say_the_activation_of_adagn(core, activation):
    inputs = adagn_inputs((2, 12, 7, 5, 3), "float32", None)
    y = _run(core, OLDER_ADAGN, inputs, groups=3, epsilon=1e-6, activation=activation)
    np.testing.assert_array_equal(y, _run(core, BY_ACTIVATION[activation], inputs, groups=3, epsilon=1e-6))


def _check_adagn_grad(core, shape, inputs, activation, epsilon=1e-6):
    dx = _run(core, GRAD_BY_ACTIVATION[activation], inputs, groups=shape[-1], epsilon=epsilon)
    error, torch_error = adagn_grad_errors(shape, inputs, activation, dx, epsilon)
    assert dx.dtype == inputs[1].dtype
    assert error <= tolerance(torch_error, str(dx.dtype))


@pytest.mark.parametrize("activation", ["none", "silu"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", ADAGN_GRAD_SHAPES, ids=str)
def test_adagn_grad(core, shape, dtype, activation):
    _check_adagn_grad(core, shape, adagn_grad_inputs(shape, dtype, None), activation)


@pytest.mark.parametrize("activation", ["none", "silu"])
def test_adagn_grad_of_one_style_a_large_mean_and_its_epsilon(core, activation):
    shape = (3, 12, 4, 6, 3)
    _check_adagn_grad(core, shape, adagn_grad_inputs(shape, "float32", 1, offset=30.0), activation, epsilon=0.5)


@pytest.mark.parametrize("squash", ["none", "tanh"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", POSTERIOR_SHAPES, ids=str)
def test_posterior_sample(core, shape, dtype, squash):
    inputs = posterior_inputs(shape, dtype)
    x_prev = _run(core, POSTERIOR, inputs, squash=squash, **POSTERIOR_COEFFICIENTS)
    error, torch_error = posterior_errors(inputs, POSTERIOR_COEFFICIENTS, squash, x_prev)
    assert x_prev.dtype == np.float32
    assert error <= tolerance(torch_error, "float32")


@pytest.mark.parametrize("coefficients", REVERSE_COEFFICIENTS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", REVERSE_SHAPES, ids=str)
@pytest.mark.parametrize("op", REVERSE_OPS)
def test_reverse_step(core, op, shape, dtype, coefficients):
    inputs = reverse_inputs(op, shape, dtype, REVERSE_COEFFICIENTS[coefficients])
    inputs[0].flat[0] = np.nan
    x_prev = _run(core, REVERSE_OPS[op], inputs)
    assert x_prev.dtype == np.float32
    np.testing.assert_allclose(x_prev, reverse_expected(inputs), rtol=0, atol=2e-6)


@pytest.mark.parametrize("noise", STYLE_NOISES)
@pytest.mark.parametrize("form", STYLE_FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", STYLE_SHAPES, ids=str)
def test_style_lrelu(core, shape, dtype, form, noise):
    alpha, limit = STYLE_FORMS[form]
    inputs = style_inputs(shape, dtype, noise, limit)
    inputs[0].flat[0] = np.nan
    y = _run(core, STYLE_LRELU, inputs, alpha=alpha)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, style_expected(inputs, alpha), rtol=0, atol=2e-6 if dtype == "float32" else 4e-3)
