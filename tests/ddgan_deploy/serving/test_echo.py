"""What an answer tells of what it was made from."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ddgan_deploy.images import grid, png, with_comment
from ddgan_deploy.serving.backend.png_model import padded_png
from ddgan_deploy.serving.client.way import Way
from ddgan_deploy.serving.echo import WrongAnswerError, check, seed_comment, seed_of_png

PIXELS = np.zeros((4, 4, 1), np.uint8)


def test_the_same_is_right():
    check("seed", [3, -1], (3, -1))


@pytest.mark.parametrize(
    ("drawn", "says"),
    [
        ([3, 5], "seed 4 came with an image of seed 5"),
        ([3], "seed [3, 4] came"),
        ([4, 3], "seed 3 came with an image of seed 4"),
    ],
)
def test_something_else_is_named(drawn, says):
    with pytest.raises(WrongAnswerError, match=re.escape(says)):
        check("seed", [3, 4], drawn)


@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, -(2**63)])
def test_a_file_tells_its_seed(seed):
    assert seed_of_png(padded_png(PIXELS, seed)) == seed


def test_a_file_that_tells_nothing():
    file = png(grid(PIXELS[None]))
    assert seed_of_png(file) is None
    assert seed_of_png(with_comment(file, b"  ")) is None
    assert seed_of_png(with_comment(file, b"seed x")) is None
    assert seed_of_png(with_comment(with_comment(file, seed_comment(3)), b"later")) is None
    assert seed_of_png(b"") is None


def tensors(*names: str, **more: object) -> list[dict[str, object]]:
    return [{"name": name, **more} for name in names]


def way(output: str, *outputs: str) -> Way:
    config = {"input": tensors("seed"), "output": tensors(*outputs), "max_batch_size": 8}
    found = Way.through("some", config, output)
    assert found
    return found


def test_the_way_through_a_model():
    assert way("image", "image", "drawn_seed") == Way("some", "image", 8, ("drawn_seed",))
    # Of before: whatever it answers is taken.
    assert way("image", "image", "png") == Way("some", "image", 8, ())


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
    assert Way.through("some", {"input": inputs, "output": tensors("image"), "max_batch_size": 1}, "image")


def test_images_and_files_are_checked():
    seeds, others = np.array([[3], [-4]]), np.array([[3], [5]])
    images = np.zeros((2, 4, 4, 1), np.uint8)
    files = np.array([[padded_png(PIXELS, seed)] for seed in (3, -4)], object)
    pixels, pictures = way("image", "image", "drawn_seed"), way("png", "png")
    assert pixels.checked(seeds, {"image": images, "drawn_seed": seeds}) is images
    assert pictures.checked(seeds, {"png": files}) is files
    with pytest.raises(WrongAnswerError):
        pixels.checked(seeds, {"image": images, "drawn_seed": others})
    with pytest.raises(WrongAnswerError):
        pictures.checked(others, {"png": files})
    silent = np.array([[padded_png(PIXELS)]] * 2, object)
    assert pictures.checked(others, {"png": silent}) is silent
