"""PosteriorSample: its function body against its reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddgan_deploy.kernels.posterior_sample.spec import SPEC, reference
from tests.kernels.cases import POSTERIOR_COEFFICIENTS, POSTERIOR_SHAPES, posterior_inputs
from tests.kernels.conftest import run_body


@pytest.mark.parametrize("squash", ["none", "tanh"])
@pytest.mark.parametrize("raw_type", ["float32", "float16"])
@pytest.mark.parametrize("shape", POSTERIOR_SHAPES, ids=str)
def test_function_body(shape, raw_type, squash):
    raw, x_t, noise = posterior_inputs(shape, raw_type)
    x_prev = run_body(SPEC, (raw, x_t, noise), **POSTERIOR_COEFFICIENTS, squash=squash)
    x_0 = np.tanh(raw.astype(np.float64)) if squash == "tanh" else raw.astype(np.float64)
    exact = (
        POSTERIOR_COEFFICIENTS["coef_x0"] * x_0
        + POSTERIOR_COEFFICIENTS["coef_xt"] * x_t
        + POSTERIOR_COEFFICIENTS["sigma"] * noise
    )
    assert x_prev.dtype == np.float32
    np.testing.assert_allclose(x_prev, exact, atol=2e-6)
    expected = reference(*map(torch.from_numpy, (raw, x_t, noise)), **POSTERIOR_COEFFICIENTS, squash=squash)
    np.testing.assert_allclose(x_prev, expected.numpy(), atol=2e-6)


def test_what_does_not_fit_is_refused():
    x = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match="one shape"):
        reference(x, x, torch.zeros(1, 3, 4, 4), 1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="'relu'"):
        reference(x, x, x, 1.0, 0.0, 0.0, squash="relu")
