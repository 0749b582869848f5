"""What a call says of its knobs becomes what the two graphs take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import draw, examples, rows, served_inputs, served_knobs
from ddgan_deploy.kernels.philox_normal.philox import integers
from ddgan_deploy.sampler import LABEL_STREAM, Draw, Knob, Sampler

GAIN = Knob("gain", "float32", (1,), 0, 10, default=1.5)
LABEL = Knob("label", "int64", (1,), -1, 9, default=-1, drawn=Draw("label", (1,), LABEL_STREAM, below=10))
PICTURE = Knob("picture", "uint8", (2, 3, 1), 0, 255)
KNOBS = (GAIN, LABEL, PICTURE)
SAMPLER = Sampler((1, 4, 6), 1, (Draw("x_T", (1, 4, 6), 0),), KNOBS)


def test_a_value_is_for_all_images_or_one_for_each():
    taken = served_knobs(KNOBS, 3, {"label": [1, 2, 3], "picture": np.full((2, 3, 1), 7)})
    assert {name: (value.dtype.name, value.shape) for name, value in taken.items()} == {
        "gain": ("float32", (3, 1)),
        "label": ("int64", (3, 1)),
        "picture": ("uint8", (3, 2, 3, 1)),
    }
    assert taken["gain"].ravel().tolist() == [1.5] * 3 and taken["label"].ravel().tolist() == [1, 2, 3]
    assert (taken["picture"] == 7).all() and taken["picture"].strides[0] == 0


def test_graphs_get_whole_arrays():
    fed = {**served_inputs(SAMPLER, [0, 1], {"picture": 0}), **draw(SAMPLER, [0, 1], {"picture": 0})}
    assert all(value.flags.c_contiguous for value in fed.values())


def test_a_label_that_is_left_out_is_drawn_from_the_seed():
    expected = integers(np.array([5, 6, 7]), LABEL_STREAM, (1,), 10)
    drawn = draw(SAMPLER, [5, 6, 7], {"picture": 0, "label": [-1, 4, -1]})["label"]
    assert drawn.ravel().tolist() == [expected[0, 0], 4, expected[2, 0]]


def test_a_picture_goes_into_the_sampler_as_planes_of_plus_and_minus_one():
    given = np.arange(6, dtype=np.uint8).reshape(1, 2, 3, 1) * 51
    taken = draw(SAMPLER, [0], {"picture": given})["picture"]
    assert taken.shape == (1, 1, 2, 3)
    np.testing.assert_allclose(taken.ravel(), np.arange(6) * 0.4 - 1, atol=1e-7)


def test_what_must_be_given_has_examples_over_its_range():
    (name, value), *others = examples(KNOBS, range(50)).items()
    assert (name, value.shape, value.dtype.name) == ("picture", (50, 2, 3, 1), "uint8") and not others
    assert value.min() < 10 and value.max() > 245
    real = examples((Knob("s", "float32", (4,), -2, 2),), range(50))["s"]
    assert real.min() == pytest.approx(-2, abs=0.1) and real.max() == pytest.approx(2, abs=0.1)
    assert served_knobs(KNOBS, 50, {name: value})


def test_rows_are_those_of_a_list_or_a_slice():
    inputs = {"a": np.arange(5)}
    assert rows(inputs, [3, 0])["a"].tolist() == [3, 0] and rows(inputs, slice(1, 3))["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"pitch": 1}, r"there is no knob pitch, only gain, label, picture: leave it out"),
        ({}, r"the knob picture must be given: uint8 \[2, 3, 1\] for every image"),
        ({"picture": 0, "gain": 11}, r"gain 11 is out of range: give a number in 0..10"),
        ({"picture": 0, "gain": float("nan")}, r"gain nan is out of range"),
        ({"picture": 0, "label": 1.5}, r"label 1.5 is no int64: give a number in -1..9"),
        ({"picture": 0, "label": "cat"}, r"label 'cat' is no int64: give a number"),
        ({"picture": 0, "label": [1, 2, 3]}, r"label has shape \[3\]: give int64 \[1\] for all images, or \[2, 1\]"),
        ({"picture": np.zeros((3, 2, 1))}, r"picture has shape \[3, 2, 1\]"),
        ({"picture": [1, 2]}, r"picture has shape \[2\]: give uint8 \[2, 3, 1\] for all images, or \[2, 2, 3, 1\]"),
        ({"picture": np.zeros((2, 2, 1, 1))}, r"picture has shape \[2, 2, 1, 1\]"),
        ({"picture": 0, "gain": 10.0000001}, r"gain 10.0000001 is out of range"),
        ({"picture": [[1], [1, 2]]}, r"picture .* is no uint8"),
    ],
)
def test_what_is_wrong_with_a_value_is_said(given, says):
    with pytest.raises(InputError, match=says):
        served_knobs(KNOBS, 2, given)


def test_a_network_without_knobs_says_so():
    with pytest.raises(InputError, match="there is no knob label, and no other: leave it out"):
        served_knobs((), 2, {"label": 1})


@pytest.mark.parametrize(
    ("knob", "says"),
    [
        (replace(GAIN, swept=(0, 11)), r"gain has values out of its range 0\.\.10"),
        (replace(GAIN, swept=(float("nan"),)), "gain has values out of its range"),
        (replace(GAIN, swept=(1.0,) * 17), "gain cannot be swept over .*: give 16 float32 at most"),
        (replace(LABEL, swept=(0, 0.5)), "label cannot be swept over .*: give 16 int64 at most"),
        (replace(PICTURE, swept=(0,)), "picture is a picture: a report cannot show it value by value"),
    ],
)
def test_what_a_report_cannot_show_is_refused(knob, says):
    with pytest.raises(InputError, match=says):
        Sampler((1, 4, 6), 1, (), (knob,))
