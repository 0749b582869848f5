"""Artifacts in a row: what goes to which of them, and which make no cascade."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ddgan_deploy.engines.cascade import Cascade, cascade_knobs
from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import at_stage
from ddgan_deploy.kernels.philox_normal.philox import integers, philox4x32
from ddgan_deploy.sampler import Draw, Knob, Sampler, label_knob

GUIDANCE = Knob("guidance", "float32", (1,), -10, 10, default=1)
LABEL = label_knob(10)


def _picture(size):
    return Knob("low_res", "uint8", (size, size, 3), 0, 255)


def _artifact(name, size, *knobs):
    sampler = Sampler((3, size, size), 1, (Draw("x_T", (3, size, size), 0),), knobs)
    return SimpleNamespace(path=Path(name), manifest=SimpleNamespace(sampler=sampler, precision="fp32"))


@dataclass
class Engine:
    """Draws its own size in grey; remembers what it was asked for."""

    artifact: object
    name: str = "stand-in"
    asked: list = field(default_factory=list)
    closed: bool = False

    def generate(self, seeds, **knobs):
        self.asked.append((list(seeds), knobs))
        size = self.artifact.manifest.sampler.image[1]
        return np.full((len(seeds), size, size, 3), size, np.uint8)

    def close(self):
        self.closed = True


@pytest.fixture
def engines():
    return [
        Engine(_artifact("base", 4, LABEL, GUIDANCE)),
        Engine(_artifact("middle", 8, _picture(4), LABEL)),
        Engine(_artifact("last", 16, _picture(8)), "another"),
    ]


def test_each_gets_what_it_takes(engines):
    with Cascade(engines) as cascade:
        assert cascade.name == "stand-in and another"
        assert [knob.name for knob in cascade.knobs] == ["label", "guidance"]
        images = cascade.generate([3, 4], label=[1, 2], guidance=5)
    assert images.shape == (2, 16, 16, 3)
    (base,), (middle,), (last,) = (engine.asked for engine in engines)
    assert base == ([3, 4], {"label": [1, 2], "guidance": 5})
    assert middle[1]["label"].tolist() == [[1], [2]]
    assert set(middle[1]) == {"label", "low_res"} and set(last[1]) == {"low_res"}
    # Noise of their own: no seed twice.
    assert len({*base[0], *middle[0], *last[0]}) == 6
    assert np.unique(middle[1]["low_res"]) == 4 and np.unique(last[1]["low_res"]) == 8
    assert all(engine.closed for engine in engines)


def test_the_first_may_be_given_a_picture_itself(engines):
    cascade = Cascade(engines[1:])
    assert [knob.name for knob in cascade.knobs] == ["low_res", "label"]
    given = np.zeros((4, 4, 3), np.uint8)
    cascade.generate([3], low_res=given)
    assert engines[1].asked[0][0] == [3] and engines[1].asked[0][1]["low_res"] is given
    assert np.unique(engines[2].asked[0][1]["low_res"]) == 8


def test_what_is_no_knob_of_the_whole_is_refused_before_the_first_image(engines):
    for knobs, line in (
        ({"low_res": np.zeros((4, 4, 3))}, "there is no knob low_res, only label, guidance"),
        ({"label": 10}, "label 10 is out of range"),
        ({"guidance": [1, 2, 3]}, r"guidance has shape \[3\]"),
    ):
        with pytest.raises(InputError, match=line):
            Cascade(engines).generate([3, 4], **knobs)
    assert not engines[0].asked


def test_one_alone_is_itself(engines):
    cascade = Cascade(engines[:1])
    assert cascade.knobs == (LABEL, GUIDANCE)
    np.testing.assert_array_equal(cascade.generate([1], guidance=2), np.full((1, 4, 4, 3), 4))


@pytest.mark.parametrize(
    ("second", "line"),
    [
        (_artifact("up", 16, LABEL), "up takes no picture to enlarge: give an upsampler's artifact"),
        (
            _artifact("up", 16, _picture(8)),
            r"up enlarges pictures \[8, 8, 3\], and base draws \[4, 4, 3\]: give an upsampler of that size",
        ),
        (
            _artifact("up", 16, _picture(4), label_knob(1000)),
            "up takes label -1..999, -1 unless given, and those before it label -1..9, -1 unless given: give artifacts",
        ),
        (_artifact("up", 16, _picture(4), replace(GUIDANCE, default=2)), "guidance -10..10, 2 unless given"),
    ],
)
def test_what_makes_no_cascade(second, line):
    with pytest.raises(InputError, match=line):
        cascade_knobs([_artifact("base", 4, LABEL, GUIDANCE), second])


def test_what_a_report_shows_of_a_knob_is_no_difference():
    tried = replace(LABEL, tried=(), swept=(), help="")
    assert cascade_knobs([_artifact("base", 4, LABEL), _artifact("up", 8, _picture(4), tried)]) == (LABEL,)


def test_a_later_stage_draws_from_a_seed_of_its_own_and_the_same_class():
    """By the block of the stage of one stream of Philox; the first is asked as it is."""
    seeds = [3, -1, 2**63]
    known = (LABEL, GUIDANCE)
    assert at_stage(known, 0, seeds, {"label": [-1, 2, -1]})[1]["label"].tolist() == [[-1], [2], [-1]]
    own, knobs = at_stage(known, 2, seeds, {"label": [-1, 2, -1]})
    for seed, made in zip(seeds, own, strict=True):
        key = seed % 2**64
        low, high, *_ = philox4x32((2, 2**32 - 3, 0, 0), (key % 2**32, key >> 32))
        assert made == int(low) + (int(high) << 32)
    drawn = integers(np.array([3, 2**63], np.uint64), 2**32 - 1, (1,), 10)[:, 0].tolist()
    assert knobs["label"].tolist() == [[drawn[0]], [2], [drawn[1]]]
    assert knobs["guidance"].tolist() == [[1], [1], [1]]
