"""Errors are measured in the reference's own scale, so that no limit is too tight or lets everything through."""

from __future__ import annotations

import numpy as np
import pytest

from ddgan_deploy.families.ddgan.family import ROUGH_X0
from ddgan_deploy.parity.comparison import distance, max_abs, psnr, scale_of, squared_error


def values(rms: float) -> np.ndarray:
    one = np.random.default_rng(0).normal(size=(2, 3, 16, 16))
    return (one / np.sqrt(np.mean(one**2)) * rms).astype(np.float32)


@pytest.mark.parametrize(
    ("rms", "scale"),
    [(209.0, 209.0), (3.0, 3.0), (1.0, 1.0), (0.4, 1.0), (0.11, 1.0), (0.05, 0.5), (1e-5, 1e-4), (1e30, 1e30)],
)
def test_the_scale_is_the_rms_of_what_is_large_and_ten_of_what_is_faint(rms, scale):
    assert scale_of(values(rms)) == pytest.approx(scale, rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_gets_no_limit_that_anything_is_within(bad):
    reference = values(200.0)
    reference[0, 0, 0, 0] = bad
    assert scale_of(reference) == 1
    assert distance(reference, reference).max_abs == np.finfo(np.float32).max
    assert distance(reference, values(200.0)).psnr == 0


def test_nothing_may_differ_from_zeros():
    zeros = np.zeros((2, 3), np.float32)
    assert distance(zeros, zeros).psnr == 999
    apart = distance(zeros, zeros + np.float32(1e-30))
    assert 0 < apart.scale < 1e-30 and apart.psnr < 0


@pytest.mark.parametrize("rms", [1e-30, 1e-5, 0.05, 0.1, 0.3, 1.0, 7.0, 209.0])
def test_zeros_are_no_proof_at_any_scale(rms):
    apart = distance(values(rms), np.zeros_like(values(rms)))
    assert apart.psnr < ROUGH_X0["int8"] - 3
    assert apart.max_abs > 0.02 * apart.scale


@pytest.mark.parametrize("rms", [1e-5, 209.0])
def test_the_same_error_in_another_unit_is_the_same(rms):
    reference, unit = values(rms), scale_of(values(rms))
    apart = distance(reference, reference + np.float32(0.02 * unit))
    assert apart.psnr == pytest.approx(40, abs=0.01)
    assert apart.max_abs / apart.scale == pytest.approx(0.02, rel=1e-3)
    assert squared_error(reference, reference + np.float32(0.02 * unit), unit) == pytest.approx(4e-4, rel=1e-3)


def test_psnr_is_for_a_range_of_two():
    a, b = np.zeros((4, 4), np.float32), np.full((4, 4), 0.02, np.float32)
    assert psnr(a, b) == pytest.approx(40)
    assert psnr(a, b, scale=10) == pytest.approx(60)
    assert psnr(a, a) == 999
    assert psnr(a, np.full((4, 4), np.inf, np.float32)) == 0
    assert max_abs(a, b) == pytest.approx(0.02)
