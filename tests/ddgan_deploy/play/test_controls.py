"""Knobs as controls."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ddgan_deploy.errors import InputError
from ddgan_deploy.play.controls import as_picture, control, picture_info
from ddgan_deploy.sampler import Knob, label_knob


def test_a_label_has_whole_steps_from_drawn_on():
    assert control(label_knob(1000)) == (-1, 999, 1, -1, True, "class; -1: drawn from the seed")


def test_a_number_has_its_range_and_default():
    assert control(Knob("truncation", "float32", (1,), -4, 4, 0.7, help="how far")) == (
        -4,
        4,
        0.01,
        0.7,
        True,
        "how far",
    )


def test_a_wide_range_is_that_of_the_values_that_a_report_shows():
    guidance = Knob("guidance", "float32", (1,), -1000, 1000, 12.5, tried=(0, 4), swept=(0.5, 10))
    assert control(guidance) == (0, 12.5, 0.1, 12.5, True, "ddgan-sample takes -1000 to 1000")


def test_of_a_server_a_wide_range_is_a_field():
    least, most, _, value, is_slider, info = control(Knob("guidance", "float32", (1,), -1000, 1000, 1.0))
    assert (least, most, value, is_slider, info) == (-1000, 1000, 1.0, False, "-1000 to 1000")


def saved(image, path, **options):
    image.save(path, **options)
    return str(path)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_a_picture_of_the_right_size_keeps_its_pixels(mode, tmp_path):
    knob = Knob("low_res", "uint8", (4, 6, 3), 0, 255)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)).convert(mode)
    taken = as_picture(knob, saved(image, tmp_path / "picture.png"))
    assert taken.shape == (1, 4, 6, 3) and taken.dtype == np.uint8
    np.testing.assert_array_equal(taken[0], np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_picture_of_another_size_is_cut_in_the_middle(channels, tmp_path):
    knob = Knob("low_res", "uint8", (4, 4, channels), 0, 255)
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    taken = as_picture(knob, saved(Image.fromarray(wide), tmp_path / "wide.png"))
    assert taken.shape == (1, 4, 4, channels)
    # At the cut a little of what lies beyond is mixed in.
    assert (np.abs(taken[..., 0].astype(int) - 200) <= 12).all()
    assert "4x4" in picture_info(knob)


def test_a_photograph_stands_upright(tmp_path):
    knob = Knob("low_res", "uint8", (6, 4, 3), 0, 255)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8))
    lying = Image.Exif()
    lying[0x0112] = 6
    taken = as_picture(knob, saved(image, tmp_path / "lying.png", exif=lying))
    np.testing.assert_array_equal(taken[0], np.rot90(np.asarray(image), -1))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "low_res: a.png is no picture that can be read: choose PNG or JPEG"),
        (b"\x89PNG\r\n\x1a\nand no more", "low_res: a.png is no picture that can be read: choose PNG or JPEG"),
        (np.full((4, 4), 300, np.uint16), "low_res: a.png has more than 8 bits a value: choose a picture of 8"),
        (None, "low_res is empty: choose a picture, best one of 6x4 pixels"),
    ],
    ids=["empty", "broken", "16 bits", "none"],
)
def test_what_is_no_picture(content, says, tmp_path):
    path = tmp_path / "a.png"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        Image.fromarray(content).save(path)
    with pytest.raises(InputError) as caught:
        as_picture(Knob("low_res", "uint8", (4, 6, 3), 0, 255), None if content is None else str(path))
    assert str(caught.value) == says
