"""Seeds that are typed, and room for images."""

from __future__ import annotations

import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.play.seeds import most_images, one_seed, page_seeds, walk_steps


@pytest.mark.parametrize(
    ("size", "most"), [((16, 16), 64), ((256, 256), 64), ((512, 512), 16), ((1024, 1024), 4), ((4096, 4096), 1)]
)
def test_large_images_are_fewer(size, most):
    assert most_images(size) == most


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "seeds '' cannot be read: give a list such as 0-15"),
        ("cat", "seeds 'cat' cannot be read"),
        ("9-3", "seeds 9-3 run backwards: give 3-9"),
        ("0-64", "65 seeds are too many for this page: give 64 images of 16x8 pixels at most"),
        ("0-9999999", "are over 1,000,000"),
        ("18446744073709551616", "is no 64-bit integer"),
    ],
)
def test_seeds_that_the_page_refuses(text, says):
    with pytest.raises(InputError) as caught:
        page_seeds(text, (8, 16))
    assert says in str(caught.value)


def test_seeds():
    assert page_seeds("0-2, 7", (8, 8)) == [0, 1, 2, 7] and len(page_seeds("0-63", (8, 8))) == 64
    assert one_seed(" 18446744073709551615 ") == 2**64 - 1
    with pytest.raises(InputError, match="2 seeds were given where there is room for one: give one, such as 3"):
        one_seed("3-4")


def test_steps():
    assert walk_steps(2, 8) == 2 and walk_steps(8.0, 8) == 8
    for asked, says in ((None, "steps are empty"), (2.5, "steps 2.5 are"), (1, "steps 1 are"), (9, "steps 9 are")):
        with pytest.raises(InputError, match=f"{says}.*: give a whole number in 2..8"):
            walk_steps(asked, 8)
