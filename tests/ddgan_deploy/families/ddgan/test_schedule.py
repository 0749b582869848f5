"""Schedule, posterior and reference sampler against the published code's own numbers."""

from __future__ import annotations

import numpy as np
import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.schedule import Schedule
from tests.conftest import CASES, golden_case
from tests.trajectories import published


@pytest.mark.parametrize("case", [name for name in CASES if name != "training_state"])
def test_posterior_coefficients(case):
    golden = golden_case(case)
    posterior = Schedule(golden.steps).posterior
    io = golden.io
    np.testing.assert_allclose(posterior.coef_x0, io["posterior_mean_coef1"], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(posterior.coef_xt, io["posterior_mean_coef2"], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(posterior.sigma, np.exp(0.5 * io["posterior_log_variance_clipped"]), rtol=1e-5)


def test_reference_sampler_step_by_step(golden):
    checkpoint = golden.load()
    trajectory = published(checkpoint.generator(), checkpoint.choose(golden.steps), golden.inputs)
    for k in range(golden.steps):
        if "x0" in golden.io:
            assert np.abs(trajectory.x0[k] - golden.io["x0"][k]).max() <= 1e-5, f"x0 of step {k}"
        assert np.abs(trajectory.x_prev[k] - golden.io["x_prev"][k]).max() <= 1e-5, f"x_prev of step {k}"


def test_geometric_schedule_follows_its_formula():
    schedule = Schedule(4, beta_min=0.01, beta_max=0.9, use_geometric=True)
    t = 0.001 + 0.999 * np.arange(5) / 4
    alpha_bar = 1 - 0.01 * 90**t
    np.testing.assert_allclose(schedule.betas, 1 - alpha_bar[1:] / alpha_bar[:-1], rtol=1e-6)
    assert schedule.betas.dtype == np.float32


@pytest.mark.parametrize("steps", [1, 2, 4, 64])
def test_posterior_of_the_last_step_is_x_0(steps):
    posterior = Schedule(steps).posterior
    # Up to the cancellation in 1 - abar of the float32 betas, which the published code has too.
    assert posterior.coef_x0[0] == pytest.approx(1, abs=1e-5)
    assert posterior.coef_xt[0] == 0
    assert posterior.sigma[0] == pytest.approx(1e-10, rel=1e-3)


@pytest.mark.parametrize(
    "arguments",
    [
        {"steps": 0},
        {"steps": 65},
        {"steps": 4, "beta_min": 0.0},
        {"steps": 4, "beta_min": 2.0, "beta_max": 1.0},
        {"steps": 4, "use_geometric": True},
        {"steps": 4, "beta_min": 0.5, "beta_max": 0.5, "use_geometric": True},
        {"steps": 4, "beta_min": 1e-9, "beta_max": 1e-8},
        {"steps": 4, "beta_max": 1e5},
    ],
)
def test_impossible_schedules_are_refused(arguments):
    with pytest.raises(InputError):
        Schedule(**arguments)
