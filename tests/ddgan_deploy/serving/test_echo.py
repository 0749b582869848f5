"""What an answer tells of what it was made from."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.images import grid, png, with_comment
from ddgan_deploy.sampler import Knob
from ddgan_deploy.serving.backend.last_model import padded_png
from ddgan_deploy.serving.client.way import Way
from ddgan_deploy.serving.echo import WrongAnswerError, check, comment_of_png, comments
from ddgan_deploy.serving.knobs import knob_parameters

PIXELS = np.zeros((4, 4, 1), np.uint8)
KNOBS = (Knob("gain", "float32", (1,), 0, 0.1, 0.05),)


def column(*values):
    return np.array(values).reshape(-1, 1)


def test_the_same_is_right():
    check({"seed": column(3, -1), "gain": column(0.5, 2.0)}, {"seed": column(3, -1)})


@pytest.mark.parametrize(
    ("drawn", "says"),
    [
        ({"seed": column(3, 5)}, "seed 4 came with an image of seed 5"),
        ({"seed": column(3)}, "seed [2, 1] came with images of seed [1, 1]"),
        ({"seed": column(4, 3)}, "seed 3 came with an image of seed 4"),
        ({"seed": column(3, 4), "gain": column(0.5, 1)}, "gain 2.0 came with an image of gain 1.0"),
        ({"low_res": np.ones((2, 2, 2, 1))}, "low_res sha256:"),
    ],
)
def test_something_else_is_named(drawn, says):
    with pytest.raises(WrongAnswerError, match=re.escape(says)):
        check({"seed": column(3, 4), "gain": column(0.5, 2.0), "low_res": np.zeros((2, 2, 2, 1))}, drawn)


@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, -(2**63)])
def test_a_file_tells_what_it_was_drawn_from(seed):
    assert comment_of_png(padded_png(PIXELS, f"seed {seed}")) == f"seed {seed}"
    (told,) = comments({"seed": column(seed), "gain": column(np.float32(0.1)), "low_res": PIXELS[None]})
    assert re.fullmatch(rf"seed {seed}, gain 0.1, low_res sha256:[0-9a-f]{{16}}", told)
    assert comment_of_png(padded_png(PIXELS, told)) == told


def test_a_file_that_tells_nothing():
    file = png(grid(PIXELS[None]))
    assert comment_of_png(file) is None
    assert comment_of_png(with_comment(file, b"  ")) is None
    assert comment_of_png(with_comment(file, b"seed x")) is None
    assert comment_of_png(with_comment(with_comment(file, b"seed 3"), b"later")) is None
    assert comment_of_png(b"") is None


def tensors(*names: str, **more: object) -> list[dict[str, object]]:
    return [{"name": name, **more} for name in names]


def way(output: str, *outputs: str) -> Way:
    config = {"input": tensors("seed"), "output": tensors(*outputs), "max_batch_size": 8}
    found = Way.through("some", config, output)
    assert found
    return found


def test_the_way_through_a_model():
    assert way("image", "image", "drawn_seed") == Way("some", "image", 8, (), ("drawn_seed",))
    # Of before: whatever it answers is taken.
    assert way("image", "image", "png") == Way("some", "image", 8, (), ())


@pytest.mark.parametrize(
    "config",
    [
        {"input": tensors("image"), "output": tensors("png"), "max_batch_size": 8},
        {"input": tensors("seed", "label"), "output": tensors("png"), "max_batch_size": 8},
        {"input": tensors("seed"), "output": tensors("image"), "max_batch_size": 8},
        {"input": tensors("seed"), "output": tensors("png")},
        {},
    ],
)
def test_no_way(config):
    assert Way.through("some", config, "png") is None


def test_what_a_request_may_leave_out_is_no_hindrance():
    inputs = [*tensors("seed"), *tensors("label", optional=True)]
    found = Way.through("some", {"input": inputs, "output": tensors("image"), "max_batch_size": 1}, "image")
    assert found == Way("some", "image", 1, (), ())


@pytest.mark.parametrize("optional", [True, False])
def test_the_knobs_of_a_model(optional):
    gain = {"name": "gain", "data_type": "TYPE_FP32", "dims": ["1"], "optional": optional}
    limits = {name: {"string_value": value} for name, value in knob_parameters(KNOBS).items()}
    tells = {"input": [*tensors("seed"), gain], "output": tensors("image", "drawn_gain"), "max_batch_size": 2}
    found = Way.through("some", {**tells, "parameters": limits}, "image")
    assert found == Way("some", "image", 2, KNOBS, ("drawn_gain",))


def test_a_limit_that_is_no_number_is_said():
    limits = {"least_gain": {"string_value": "low"}}
    with pytest.raises(InputError, match="parameter least_gain 'low' is no number: mend config.pbtxt"):
        Way.through("some", {"input": tensors("seed", "gain"), "parameters": limits}, "image")


def test_images_and_files_are_checked():
    seeds, others = {"seed": column(3, -4)}, {"seed": column(3, 5)}
    images = np.zeros((2, 4, 4, 1), np.uint8)
    files = np.array([[padded_png(PIXELS, f"seed {seed}")] for seed in (3, -4)], object)
    pixels, pictures = way("image", "image", "drawn_seed"), way("png", "png")
    assert pixels.checked(seeds, {"image": images, "drawn_seed": seeds["seed"]}) is images
    assert pictures.checked(seeds, {"png": files}) is files
    with pytest.raises(WrongAnswerError):
        pixels.checked(seeds, {"image": images, "drawn_seed": others["seed"]})
    with pytest.raises(WrongAnswerError):
        pictures.checked(others, {"png": files})
    silent = np.array([[padded_png(PIXELS)]] * 2, object)
    assert pictures.checked(others, {"png": silent}) is silent
