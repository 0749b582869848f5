"""The levels, and the factors of every step, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from ddgan_deploy.families.consistency.config import ConsistencySampling
from ddgan_deploy.families.consistency.schedule import Level, process


def test_the_published_levels_of_two_steps():
    """The 7th roots of 80 and 0.002 are 1.8701222535 and 0.4115597138: 22/39 of the way is 1.0473433844."""
    middle = 1.3823679566485084
    first, second = process(ConsistencySampling(2, (0, 22, 39), 40))
    assert first.sigma == pytest.approx(80, rel=1e-12)
    assert second.sigma == pytest.approx(middle, rel=1e-9)
    assert first.noise == pytest.approx(math.sqrt(middle**2 - 4e-6), rel=1e-9)
    assert second.noise == 0


def test_levels_whose_roots_are_whole():
    """2 and 1, between which 1.5 is half way, and 1.2 another 3/10."""
    steps = process(ConsistencySampling(3, (0, 5, 8, 10), 11, sigma_min=1.0, sigma_max=128.0))
    assert [step.sigma for step in steps] == pytest.approx([128, 17.0859375, 3.5831808], rel=1e-12)
    noises = [math.sqrt(290.92926025390625), math.sqrt(11.83918464548864), 0]
    assert [step.noise for step in steps] == pytest.approx(noises, rel=1e-12)


def test_onestep_begins_at_the_most():
    assert process(ConsistencySampling(1)) == (Level(80.0, 0.002, 0.0),)
    assert process(ConsistencySampling(1, sigma_max=10.0, sigma_min=0.1)) == (Level(10.0, 0.1, 0.0),)


def test_factors_at_the_most():
    """80^2 + 0.5^2 = 6400.25, whose root is 80.0015625; 79.998^2 + 0.25 = 6399.930004."""
    (step,) = process(ConsistencySampling(1))
    assert step.c_in == pytest.approx(1 / 80.00156248474, rel=1e-12)
    assert step.c_out == pytest.approx(39.999 / 80.00156248474, rel=1e-12)
    assert step.c_skip == pytest.approx(0.25 / 6399.930004, rel=1e-12)
    assert step.time == pytest.approx(250 * 4.382026634673881, rel=1e-14)


def test_at_the_least_the_state_is_the_answer():
    """The boundary condition."""
    step = Level(0.002, 0.002, 0.0)
    assert (step.c_out, step.c_skip) == (0, 1)
