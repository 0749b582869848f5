"""Images that are kept by their seeds."""

from __future__ import annotations

import numpy as np
import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.serving import CACHE_VARIABLE
from ddgan_deploy.serving.backend.image_cache import BESIDE, ImageCache, cache_bytes, keys

ENTRY = 16 + BESIDE


def test_keys_tell_inputs_apart():
    picture = np.zeros((2, 8, 8, 3), np.uint8)
    rows = {"seed": np.array([[1], [1]]), "label": np.array([[0], [1]])}
    assert len(set(keys(rows))) == 2 and keys(rows)[0] == keys({name: value[:1] for name, value in rows.items()})[0]
    assert len(set(keys({"seed": rows["seed"], "low_res": picture}))) == 1
    picture[1, 7, 7, 2] = 1
    large = keys({"seed": rows["seed"], "low_res": picture})
    assert len(set(large)) == 2 and all(len(key) <= 64 for key in large)


def images(*seeds: int) -> dict[int, np.ndarray]:
    return {seed: np.full((4, 4, 1), seed, np.uint8) for seed in seeds}


def test_what_was_kept_is_found():
    cache = ImageCache(10 * ENTRY)
    cache.keep(images(1, 2))
    found = cache.find([2, 3, 1])
    assert found.keys() == {1, 2} and all((found[seed] == seed).all() for seed in found)


def test_what_nobody_asked_for_the_longest_gives_way():
    cache = ImageCache(3 * ENTRY)
    cache.keep(images(1, 2, 3))
    cache.find([1])
    cache.keep(images(4, 5))
    assert cache.find(range(6)).keys() == {1, 4, 5}


def test_never_more_than_the_size():
    cache = ImageCache(3 * ENTRY - 1)
    for start in range(0, 100, 10):
        cache.keep(images(*range(start, start + 10)))
        assert cache.find(range(200)).keys() == {start + 8, start + 9}


@pytest.mark.parametrize("size", [0, ENTRY - 1])
def test_without_room_nothing_is_kept(size):
    cache = ImageCache(size)
    cache.keep(images(1))
    assert not cache.find([1])


def test_an_image_does_not_hold_its_batch():
    batch = np.zeros((100, 4, 4, 1), np.uint8)
    cache = ImageCache(1 << 20)
    cache.keep({7: batch[7]})
    assert cache.find([7])[7].base is None


def test_the_size_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    assert cache_bytes() == 64 << 20
    monkeypatch.setenv(CACHE_VARIABLE, "3")
    assert cache_bytes() == 3 << 20
    monkeypatch.setenv(CACHE_VARIABLE, "-3")
    with pytest.raises(InputError, match="'-3' is no number: give MiB, or 0"):
        cache_bytes()
