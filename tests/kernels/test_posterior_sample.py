"""PosteriorSample: its function body against its reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddgan_deploy.kernels.posterior_sample.spec import SPEC, reference
from tests.kernels.conftest import run_body

COEFFICIENTS = {"coef_x0": 0.66577846, "coef_xt": 0.20157626, "sigma": 0.6639}


@pytest.mark.parametrize("squash", ["none", "tanh"])
@pytest.mark.parametrize("raw_type", ["float32", "float16"])
@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (5, 1, 7, 3), (2, 12, 1, 1)], ids=str)
def test_function_body(shape, raw_type, squash):
    rng = np.random.default_rng(1)
    raw = (3 * rng.normal(size=shape)).astype(raw_type)
    x_t, noise = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    x_prev = run_body(SPEC, (raw, x_t, noise), **COEFFICIENTS, squash=squash)
    x_0 = np.tanh(raw.astype(np.float64)) if squash == "tanh" else raw.astype(np.float64)
    exact = COEFFICIENTS["coef_x0"] * x_0 + COEFFICIENTS["coef_xt"] * x_t + COEFFICIENTS["sigma"] * noise
    assert x_prev.dtype == np.float32
    np.testing.assert_allclose(x_prev, exact, atol=2e-6)
    expected = reference(*map(torch.from_numpy, (raw, x_t, noise)), **COEFFICIENTS, squash=squash)
    np.testing.assert_allclose(x_prev, expected.numpy(), atol=2e-6)


def test_what_does_not_fit_is_refused():
    x = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match="one shape"):
        reference(x, x, torch.zeros(1, 3, 4, 4), 1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="'relu'"):
        reference(x, x, x, 1.0, 0.0, 0.0, squash="relu")
