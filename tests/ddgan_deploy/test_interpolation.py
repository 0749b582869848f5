"""What a sampler is fed between seeds."""

from __future__ import annotations

import numpy as np
import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import draw
from ddgan_deploy.interpolation import Walk, between
from ddgan_deploy.sampler import LABEL_STREAM, Draw, Knob, Sampler, Streams

LABEL = Draw("label", (1,), LABEL_STREAM, below=1000)
SAMPLER = Sampler(
    (3, 16, 16),
    5,
    (
        Draw("x_T", (3, 16, 16), 0),
        Draw("noise", (3, 8, 8), Streams(2, 2, 4)),
        Draw("one", (1,), 40),
        Draw("digit", (2,), 41, below=1000),
    ),
    (
        Knob("gain", "float32", (2,), -9, 9, default=1.0),
        Knob("label", "int64", (1,), -1, 999, default=-1, drawn=LABEL),
        Knob("picture", "uint8", (2, 2, 3), 0, 255, default=0),
    ),
)
KNOBS = {"gain": [[1, 2], [5, -2]], "picture": np.stack([np.zeros((2, 2, 3)), np.full((2, 2, 3), 255)])}


def at(t, seeds=(3, 7), **knobs):
    """Inputs of one image, [...] each."""
    ends = draw(SAMPLER, seeds, {**KNOBS, **knobs})
    first, second = ({name: value[[side]] for name, value in ends.items()} for side in (0, 1))
    return {name: value[0] for name, value in between(SAMPLER, first, second, [t]).items()}


def test_the_ends_are_the_seeds_to_the_bit():
    ends = draw(SAMPLER, [3, 7], KNOBS)
    for side in (0, 1):
        for name, value in at(side).items():
            np.testing.assert_array_equal(value, ends[name][side])
            assert value.dtype == ends[name].dtype


@pytest.mark.parametrize("t", [0.125, 0.5, 0.75])
def test_a_draw_goes_along_a_great_circle_with_its_length_along_a_line(t):
    ends = draw(SAMPLER, [3, 7], KNOBS)
    mixed = at(t)
    vectors = [(ends["x_T"][0], ends["x_T"][1], mixed["x_T"])]
    # Each step's own.
    vectors += zip(ends["noise"][0], ends["noise"][1], mixed["noise"], strict=True)
    assert len(vectors) == 5
    for a, b, c in vectors:
        a, b, c = (each.ravel().astype(np.float64) for each in (a, b, c))
        lengths = [np.linalg.norm(each) for each in (a, b, c)]
        assert lengths[2] == pytest.approx((1 - t) * lengths[0] + t * lengths[1], rel=1e-6)
        angle = lambda one, other: np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other))  # noqa: E731
        assert angle(a, c) == pytest.approx(t * angle(a, b), rel=1e-4)
        assert angle(c, b) == pytest.approx((1 - t) * angle(a, b), rel=1e-4)


def test_what_has_no_great_circle_goes_along_a_line():
    ends = draw(SAMPLER, [3, 7], KNOBS)["one"]
    np.testing.assert_allclose(at(0.25)["one"], 0.75 * ends[0] + 0.25 * ends[1], rtol=1e-6)
    np.testing.assert_allclose(at(0.25, (3, 3))["x_T"], draw(SAMPLER, [3], {"picture": 0})["x_T"][0], rtol=1e-6)
    zeros = Sampler((1, 1, 1), 1, (Draw("x_T", (4,), 0),))
    for first, second, expected in (([0] * 4, [1] * 4, 0.25), ([0] * 4, [0] * 4, 0), ([1] * 4, [-1] * 4, 0.5)):
        ends = [{"x_T": np.array([end], np.float32)} for end in (first, second)]
        np.testing.assert_allclose(between(zeros, *ends, [0.25])["x_T"], [[expected] * 4])


def test_numbers_go_along_a_line_and_integers_are_those_of_the_nearer_seed():
    ends = draw(SAMPLER, [3, 7], KNOBS)
    assert (ends["label"][0] != ends["label"][1]).all() and (ends["digit"][0] != ends["digit"][1]).all()
    np.testing.assert_allclose(at(0.25)["gain"], [2, 1])
    np.testing.assert_allclose(at(0.25)["picture"], np.full((3, 2, 2), -0.5))
    for t, side in ((0.25, 0), (0.5, 0), (0.75, 1)):
        for name in ("label", "digit"):
            np.testing.assert_array_equal(at(t)[name], ends[name][side])
    assert at(0.75, label=[4, -1])["label"] == ends["label"][1] and at(0.25, label=[4, -1])["label"] == 4


def test_a_walk_has_each_seed_once_and_equal_steps_between():
    walk = Walk((0, 3, 0), 4)
    assert len(walk) == 9
    assert [walk.t(place) for place in range(9)] == [0, 0.25, 0.5, 0.75, 0, 0.25, 0.5, 0.75, 1]
    assert [walk.pair(place) for place in (0, 3, 4, 8)] == [(0, 3), (0, 3), (3, 0), (3, 0)]


def test_a_part_of_a_walk_is_fed_like_the_whole():
    """Whatever the batch, and with each seed's own knobs."""
    walk = Walk((0, 3, 7, 2**64 - 1), 3)
    knobs = {"gain": [[0, 0], [3, 3], [6, 6], [0, 9]]}
    whole = walk.inputs(SAMPLER, range(10), knobs)
    assert whole["gain"].tolist() == [[n, n] for n in range(7)] + [[4, 7], [2, 8], [0, 9]]
    ends = draw(SAMPLER, walk.seeds, knobs)
    for name, value in whole.items():
        np.testing.assert_array_equal(value[::3], ends[name])
        for part in (range(2, 5), range(8, 10), range(9, 10)):
            np.testing.assert_array_equal(value[list(part)], walk.inputs(SAMPLER, part, knobs)[name])


@pytest.mark.parametrize(
    ("seeds", "steps", "says"),
    [
        ((3,), 8, "seed 3 has no other to go to: give two seeds or more, such as 0,3,7"),
        ((), 8, "no seeds are given"),
        ((0, 1), 1, "steps from a seed to the next: 1 leave no image between them, give 2 or more"),
        ((0, 1), -8, "next: -8 leave no image"),
        ((0, 1), 10**6, "1,000,001 images are over 1,000,000: give fewer seeds or steps"),
        ((0, 2**64), 8, "is no 64-bit integer"),
    ],
)
def test_a_walk_that_goes_nowhere(seeds, steps, says):
    with pytest.raises(InputError, match=says):
        Walk(seeds, steps)
