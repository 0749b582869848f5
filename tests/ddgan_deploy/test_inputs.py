"""Philox against the published known answers, and the layout of a seed's noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ddgan_deploy.inputs import draw
from ddgan_deploy.kernels.philox_normal.philox import normal, philox4x32
from ddgan_deploy.sampler import Draw, Sampler, Streams

ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers_of_the_random123_suite(counter, key, expected):
    assert tuple(int(word) for word in philox4x32(counter, key)) == expected


def test_elements_follow_from_seed_stream_and_index_alone():
    seed, stream = 0x0123456789ABCDEF, 5
    values = normal(np.array([seed]), stream, (7,))[0]
    for index in range(7):
        block, place = divmod(index, 4)
        words = philox4x32((block, stream, 0, 0), (seed & ONES, seed >> 32))
        u = [(int(word) + 0.5) * 2.0**-32 for word in words]
        length = math.sqrt(-2 * math.log(u[place // 2 * 2]))
        angle = 2 * math.pi * u[place // 2 * 2 + 1]
        expected = np.float32(length * (math.sin(angle) if place % 2 else math.cos(angle)))
        assert values[index] == pytest.approx(expected, rel=2e-7)


def drawn(seeds, image_shape, nz, steps):
    """What a Denoising Diffusion GAN draws."""
    noise = (Draw("noise", image_shape, Streams(2, 2, steps - 1)),) if steps > 1 else ()
    draws = (Draw("x_T", image_shape, 0), Draw("z", (nz,), Streams(1, 2, steps)), *noise)
    return draw(Sampler(image_shape, steps, draws), seeds)


def test_negative_seeds_are_their_two_s_complement():
    assert np.array_equal(drawn([-1], (1, 4, 4), 3, 2)["x_T"], drawn([2**64 - 1], (1, 4, 4), 3, 2)["x_T"])
    assert not np.array_equal(drawn([2**63], (1, 4, 4), 3, 2)["x_T"], drawn([0], (1, 4, 4), 3, 2)["x_T"])


def test_streams_are_x_T_then_z_and_noise_of_each_step():
    noise = drawn([3, 9], (2, 3, 5), 4, 3)
    seeds = np.array([3, 9])
    assert noise["z"].shape == (2, 3, 4)
    assert noise["noise"].shape == (2, 2, 2, 3, 5)
    assert np.array_equal(noise["x_T"], normal(seeds, 0, (2, 3, 5)))
    for k in range(3):
        assert np.array_equal(noise["z"][:, k], normal(seeds, 1 + 2 * k, (4,)))
    for k in range(2):
        assert np.array_equal(noise["noise"][:, k], normal(seeds, 2 + 2 * k, (2, 3, 5)))


def test_a_seed_s_noise_does_not_depend_on_its_neighbours():
    batch, alone = drawn([1, 2, 3], (3, 8, 8), 5, 2), drawn([2], (3, 8, 8), 5, 2)
    assert np.array_equal(batch["x_T"][1], alone["x_T"][0])
    assert np.array_equal(batch["noise"][1], alone["noise"][0])


def test_one_step_has_no_noise():
    assert drawn([0], (1, 4, 4), 3, 1).keys() == {"x_T", "z"}


def test_values_are_standard_normal():
    values = normal(np.arange(64), 0, (64, 64)).astype(np.float64)
    assert abs(values.mean()) < 5 / math.sqrt(values.size)
    assert abs(values.var() - 1) < 5 * math.sqrt(2 / values.size)
    assert abs((values**4).mean() - 3) < 0.1
