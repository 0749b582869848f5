"""Seeds and steps as they are typed into the page, and how many images it has room for."""

from __future__ import annotations

from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import parse_seeds

_MOST = 64
_MOST_PIXELS = _MOST * 256 * 256
"""Of all images that the page shows at once."""


def most_images(size: tuple[int, int]) -> int:
    """That the page shows at once, of images (H, W)."""
    return max(1, min(_MOST, _MOST_PIXELS // (size[0] * size[1])))


def page_seeds(text: str, size: tuple[int, int]) -> list[int]:
    """Seeds as `inputs.parse_seeds` takes them, no more than there is room for.

    Raises:
        InputError: the text is no list of seeds, or too long a one.
    """
    seeds, most = parse_seeds(text), most_images(size)
    if len(seeds) > most:
        room = f"{most} images of {size[1]}x{size[0]} pixels"
        raise InputError(f"{len(seeds):,} seeds are too many for this page: give {room} at most, or use ddgan-sample")
    return seeds


def one_seed(text: str) -> int:
    """A single seed.

    Raises:
        InputError: the text is none, or several.
    """
    seeds = parse_seeds(text)
    if len(seeds) != 1:
        raise InputError(f"{len(seeds):,} seeds were given where there is room for one: give one, such as {seeds[0]}")
    return seeds[0]


def walk_steps(asked: float | None, most: int) -> int:
    """Steps from one seed to another, as a field has them: None where it is empty.

    Raises:
        InputError: the number is not whole, or beyond 2..most.
    """
    if asked is None or asked != int(asked) or not 2 <= asked <= most:
        said = "are empty" if asked is None else f"{asked:g} are out of range"
        raise InputError(f"steps {said}: give a whole number in 2..{most}")
    return int(asked)
