"""A seed's way, and the way from one seed to another."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.errors import InputError
from ddgan_deploy.images import to_pixels
from ddgan_deploy.inputs import draw
from ddgan_deploy.play.way import between_seeds, way_of, why_not
from tests.conftest import DATA


@pytest.fixture(scope="module")
def ddgan():
    with open_artifact(DATA / "format1" / "artifact", "onnxruntime-portable") as engine:
        yield engine


def test_every_step_is_shown(ddgan):
    steps = ddgan.artifact.manifest.steps
    way = way_of(ddgan, 7, {}, 64)
    assert way.steps == len(way.states) == len(way.seen) == steps
    assert way.states[0].name == "x_T" and way.states[1].name == f"step 0 (t={steps - 1}) x_prev"
    noise = draw(ddgan.artifact.manifest.sampler, [7])["x_T"]
    np.testing.assert_array_equal(way.states[0].pixels, to_pixels(noise)[0])
    np.testing.assert_array_equal(way.seen[-1].pixels, ddgan.generate([7])[0])
    assert len({picture.pixels.tobytes() for picture in (*way.states, *way.seen)}) == 2 * steps


def test_knobs_count(opened):
    seen = way_of(opened, 3, {"gain": 3.0, "label": 2}, 64).seen
    np.testing.assert_array_equal(seen[-1].pixels, opened.generate([3], gain=3.0, label=2)[0])
    assert (seen[-1].pixels != opened.generate([3])[0]).any()


def test_of_many_steps_the_first_and_the_last_are_among_those_shown(ddgan):
    whole, some = way_of(ddgan, 7, {}, 64), way_of(ddgan, 7, {}, 2)
    assert len(some.states) == len(some.seen) == 2
    for kind in (some.states, some.seen):
        assert {picture.name for picture in kind} <= {picture.name for picture in (*whole.states, *whole.seen)}
    assert some.seen[0].name == whole.seen[0].name and some.seen[-1].name == whole.seen[-1].name


def test_where_there_are_no_steps_to_show(ddgan):
    assert why_not(ddgan) == ""
    assert "A server tells nothing" in why_not(None)

    class Blind:
        name, artifact = "tensorrt", ddgan.artifact

    assert why_not(Blind()).startswith("tensorrt tells nothing")

    class OneStep:
        name = "onnxruntime"
        artifact = dataclasses.replace(ddgan.artifact, manifest=dataclasses.replace(ddgan.artifact.manifest, probes=()))

    assert "draws in one step" in why_not(OneStep())


def test_ends_are_the_seeds_images(opened):
    images = between_seeds(opened, 3, 7, 20, {"gain": 2.0})
    assert len(images) == 21
    np.testing.assert_array_equal(images[[0, -1]], opened.generate([3, 7], gain=2.0))
    assert len(np.unique(images, axis=0)) == 21


def test_one_seed_twice(opened):
    with pytest.raises(InputError, match="seed 3 is given twice"):
        between_seeds(opened, 3, 3, 4, {})
