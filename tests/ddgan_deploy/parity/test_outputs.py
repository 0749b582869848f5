"""The gates that look at the end of the way alone: each fails for what it is there for, and for nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from ddgan_deploy.artifact.results import Gate
from ddgan_deploy.images import to_pixels
from ddgan_deploy.inputs import Inputs
from ddgan_deploy.parity.comparison import scale_of
from ddgan_deploy.parity.gates import engine_pixel_gate, served_pixel_gate
from ddgan_deploy.parity.verify import Trial, verify_outputs

SEEDS = (3, 5, 8)
SHAPE = (2, 4, 6)


def _reference(noise: Inputs, scale: float = 1.0) -> np.ndarray:
    return np.tanh(noise["x_T"]) * np.float32(scale)


@dataclass
class Engine:
    """One that computes the reference, and then what is wrong with it."""

    noise: Inputs
    change: object = lambda x_0: x_0
    pixels: int = 0
    scale: float = 1.0
    name: str = "stand-in"
    batches: list[int] = field(default_factory=list)

    def sample(self, noise: Inputs) -> np.ndarray:
        self.batches.append(len(noise["x_T"]))
        return self.change(_reference(noise, self.scale).copy())

    def generate(self, seeds) -> np.ndarray:
        assert tuple(seeds) == SEEDS
        images = to_pixels(_reference(self.noise, self.scale)).copy()
        images[1, 2, 3, 0] = np.clip(128 + self.pixels, 0, 255)
        return images


@pytest.fixture
def noise() -> Inputs:
    rng = np.random.default_rng(0)
    x_T = rng.normal(size=(3, *SHAPE)).astype(np.float32)
    x_T[1, 0, 2, 3] = 0  # 128 of 255
    return {"x_T": x_T, "z": np.zeros((3, 1, 5), np.float32)}


def _failures(noise: Inputs, precision="fp32", **engine) -> list[str]:
    reference = _reference(noise, engine.get("scale", 1.0))
    result = verify_outputs(reference, Engine(noise, **engine), Trial(SEEDS, {}, noise), precision)
    assert result.engine == "stand-in" and result.seeds == SEEDS and result.probes == ()
    assert len(result.gates) == 5
    return [gate.name for gate in result.failures]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_that_is_right_passes(noise, precision):
    assert not _failures(noise, precision)


def test_twins_are_neighbours(noise):
    """An engine that splits the batch has both in one, unless it takes one row at a time."""
    engine = Engine(noise)
    verify_outputs(_reference(noise), engine, Trial(SEEDS, {}, noise), "fp32")
    assert sorted(engine.batches) == [1, 3, 4]

    def leaking(x_0):
        if len(x_0) == 4:
            x_0[1, 0, 0, 0] += 1e-6
        return x_0

    assert _failures(noise, change=leaking) == ["identical rows stay identical"]


@pytest.mark.parametrize(("precision", "error", "fails"), [("fp32", 9e-5, False), ("fp32", 2e-4, True)])
def test_fp32_is_held_to_the_largest_difference(noise, precision, error, fails):
    def off(x_0):
        x_0[:, 0, 0, 0] += error
        return x_0

    assert _failures(noise, precision, change=off) == (["x_0 against PyTorch"] if fails else [])


@pytest.mark.parametrize(("error", "fails"), [(0.015, False), (0.025, True)])
def test_fp16_is_held_to_decibels(noise, error, fails):
    # 40 dB of a range of 2 are an error of 0.02.
    failed = _failures(noise, "fp16", change=lambda x_0: x_0 + np.float32(error))
    assert ("x_0 against PyTorch" in failed) is fails


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_fails(noise, value):
    def broken(x_0):
        x_0[-1, 1, 1, 1] = value
        return x_0

    assert {"no NaN or Inf", "x_0 against PyTorch"} <= set(_failures(noise, change=broken))


@pytest.mark.parametrize(
    ("precision", "error", "fails"),
    [("fp32", 5e-5, False), ("fp32", 1.5e-4, True), ("fp16", 0.015, False), ("fp16", 0.03, True)],
)
def test_a_sample_alone_is_that_in_a_batch(noise, precision, error, fails):
    def lonely(x_0):
        return x_0 + np.float32(error) * (len(x_0) == 1)

    assert _failures(noise, precision, change=lonely) == (["a sample alone equals it in a batch"] if fails else [])


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1), ("fp16", 3)])
@pytest.mark.parametrize("sign", [1, -1])
def test_pixels_may_be_as_far_apart_as_batches_may(noise, precision, limit, sign):
    """2e-2 of x_0 are 2.55 grey levels, and a value between two levels is rounded to either."""
    assert not _failures(noise, precision, pixels=sign * limit)
    assert _failures(noise, precision, pixels=sign * (limit + 1)) == ["seed to pixels"]


@pytest.mark.parametrize("scale", [300.0, 1e-5])
@pytest.mark.parametrize(("precision", "largest"), [("fp32", 1e-4), ("fp16", 2e-2), ("int8", 2e-2)])
def test_limits_follow_the_reference(noise, scale, precision, largest):
    """The error is an even one, of which the largest difference and the RMSE are the same."""
    unit = np.float32(scale_of(_reference(noise, scale)))

    def off(share, alone=False):
        return lambda x_0: x_0 + unit * np.float32(share) * (not alone or len(x_0) == 1)

    for alone, gate in ((False, "x_0 against PyTorch"), (True, "a sample alone equals it in a batch")):
        assert gate not in _failures(noise, precision, scale=scale, change=off(0.9 * largest, alone))
        assert gate in _failures(noise, precision, scale=scale, change=off(1.2 * largest, alone))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_zeros_are_not_a_faint_image(noise, precision):
    failed = _failures(noise, precision, scale=1e-5, change=np.zeros_like)
    assert failed == ["x_0 against PyTorch"]


def test_pixels_of_a_large_range_may_differ_by_its_rounding(noise):
    """1e-4 of a scale of 240 are 3 grey levels."""
    scale = 240 / scale_of(_reference(noise, 100.0)) * 100
    assert not _failures(noise, pixels=-4, scale=scale)
    assert _failures(noise, pixels=-5, scale=scale) == ["seed to pixels"]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_other_pixels_fail_however_large_the_range_is(noise, precision):
    class Negative(Engine):
        def generate(self, seeds) -> np.ndarray:
            return 255 - super().generate(seeds)

    reference = _reference(noise, 1e4)
    result = verify_outputs(reference, Negative(noise, scale=1e4), Trial(SEEDS, {}, noise), precision)
    assert [gate.name for gate in result.failures] == ["seed to pixels"]


@pytest.mark.parametrize(("scale", "unit"), [(1.0, "grey levels"), (130.0, "dB")])
def test_an_int8_integer_that_is_rounded_otherwise_may_flip_a_pixel_of_a_large_range(scale, unit):
    x_0 = np.where(np.random.default_rng(0).random((2, 3, 16, 16)) < 0.5, -scale, scale).astype(np.float32)
    images = to_pixels(x_0)
    images[0, 0, 0, 0] = 255 - images[0, 0, 0, 0]
    gate = served_pixel_gate(images, x_0, scale, "int8")
    assert (gate.unit, gate.passed) == (unit, scale > 1)
    assert not served_pixel_gate(255 - images, x_0, scale, "int8").passed
    # Half the range away from every pixel, and no further.
    assert not served_pixel_gate(np.full_like(images, 127), x_0, scale, "int8").passed


SCALES = (1.0, 210.0, 1700.0, 11000.0)


def _smooth(seeds: int, size: int = 32) -> np.ndarray:
    """Images of RMS 1 whose neighbouring pixels are alike, as pictures' are."""
    waves = np.random.default_rng(0).normal(size=(seeds, 3, 4, 4, 2))
    y, x = np.mgrid[:size, :size] * 2 * np.pi / size
    angles = np.arange(4)[:, None, None, None] * y + np.arange(4)[None, :, None, None] * x
    images = np.einsum("ncabk,kabyx->ncyx", waves, np.stack([np.cos(angles), np.sin(angles)]))
    return (images / np.sqrt(np.mean(images**2))).astype(np.float32)


WRONG = {
    "grey": lambda images: np.full_like(images, 127),
    "black": np.zeros_like,
    "white": lambda images: np.full_like(images, 255),
    "inverted": lambda images: 255 - images,
    "other seeds": lambda images: np.roll(images, 1, axis=0),
    "shifted": lambda images: np.roll(images, 1, axis=2),
    "channels swapped": lambda images: images[..., ::-1],
    "one of them grey": lambda images: np.concatenate([np.full_like(images[:1], 127), images[1:]]),
}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("gate", [served_pixel_gate, engine_pixel_gate])
def test_only_the_right_pixels_pass_at_any_scale(gate, scale, precision):
    x_0 = _smooth(4) * np.float32(scale)
    images = to_pixels(x_0)
    assert gate(images, x_0, scale_of(x_0), precision) == Gate("seed to pixels", True, 0, 1, "grey levels")
    passed = [name for name, wrong in WRONG.items() if gate(wrong(images), x_0, scale_of(x_0), precision).passed]
    assert not passed


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("scale", [210.0, 1700.0, 11000.0])
def test_what_rounding_does_to_a_large_range_passes(scale, precision):
    x_0 = _smooth(4) * np.float32(scale)
    error = np.random.default_rng(1).normal(size=x_0.shape) * {"fp32": 2e-5, "fp16": 1e-3, "int8": 1e-2}[precision]
    images = to_pixels(x_0 + (error * scale).astype(np.float32))
    gate = served_pixel_gate(images, x_0, scale_of(x_0), precision)
    assert gate.passed
    assert (images != to_pixels(x_0)).any()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_few_values_that_are_huge_leave_no_room_for_all_others(wrong, precision):
    """Their rounding may move every other pixel from black to white."""
    x_0 = _smooth(4)
    x_0[:, :, 0, 0] *= 1e7
    assert scale_of(x_0) > 1e5
    right = to_pixels(x_0)
    images = WRONG[wrong](right).copy()
    images[:, 0, 0] = right[:, 0, 0]
    gate = served_pixel_gate(images, x_0, scale_of(x_0), precision)
    assert (gate.passed, gate.unit) == (False, "dB")
    assert served_pixel_gate(right, x_0, scale_of(x_0), precision).passed


@pytest.mark.parametrize(("beyond", "limit"), [(0.0, 129), (0.5, 66), (0.99, 3), (1.1, 1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_pixel_may_move_as_far_as_its_own_value_may(beyond, limit, sign):
    """An error of 5e-3 of 202 is 1.01, of which a value beyond the range needs some to come back into it."""
    x_0 = np.where(np.random.default_rng(0).random((4, 3, 32, 32)) < 0.5, -202, 202).astype(np.float32)
    x_0[0, 0, 0, 0] = sign * (1 + beyond)
    images = to_pixels(x_0).astype(np.int16)
    for levels, passes in ((limit, True), (limit + 1, False)):
        images[0, 0, 0, 0] = (255 if sign > 0 else 0) - sign * levels
        gate = served_pixel_gate(images.astype(np.uint8), x_0, 202.0, "fp16")
        assert gate == Gate("seed to pixels", passes, levels, limit, "grey levels")


def test_a_reference_that_is_not_finite_is_said_to_be_the_networks(noise):
    reference = _reference(noise)
    reference[0, 0, 0, :2] = np.inf, np.nan
    first = verify_outputs(reference, Engine(noise), Trial(SEEDS, {}, noise), "fp32").failures[0]
    assert (first.name, first.measured) == ("no NaN or Inf", 2)
    assert "the network itself gives values that float32 does not hold" in first.failure()
