"""The Philox ops: their function bodies against the NumPy definition, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddgan_deploy.kernels.philox_normal.philox import integers, normal, philox4x32
from ddgan_deploy.kernels.philox_normal.spec import INTEGER, NORMAL_AT, SPEC, reference, reference_integer
from tests.kernels.cases import PHILOX_BELOW, PHILOX_SEEDS, PHILOX_SHAPES, PHILOX_STREAMS, PHILOX_ULP
from tests.kernels.conftest import run_body


@pytest.mark.parametrize("stream", PHILOX_STREAMS)
@pytest.mark.parametrize("shape", PHILOX_SHAPES, ids=str)
def test_function_body(shape, stream):
    values = run_body(SPEC, (PHILOX_SEEDS[:, None],), stream=stream, shape=shape)
    expected = normal(PHILOX_SEEDS, stream, shape)
    assert values.shape == expected.shape
    np.testing.assert_array_max_ulp(values, expected, maxulp=PHILOX_ULP)


@pytest.mark.parametrize("stream", [*PHILOX_STREAMS, 2**32 - 1, 2**40 + 1, -1])
def test_function_body_of_a_stream_that_is_an_input(stream):
    values = run_body(NORMAL_AT, (PHILOX_SEEDS[:, None], np.array(stream)), shape=(3, 5, 3))
    expected = normal(PHILOX_SEEDS, stream % 2**32, (3, 5, 3))
    np.testing.assert_array_max_ulp(values, expected, maxulp=PHILOX_ULP)


@pytest.mark.parametrize("below", PHILOX_BELOW)
@pytest.mark.parametrize("shape", [(), (1,), (5, 1, 3)], ids=str)
def test_function_body_of_integers(shape, below):
    values = run_body(INTEGER, (PHILOX_SEEDS[:, None],), stream=2**32 - 1, shape=shape, below=below)
    assert values.dtype == np.int64
    np.testing.assert_array_equal(values, integers(PHILOX_SEEDS, 2**32 - 1, shape, below))


def test_integers_are_the_words_upper_part():
    words = np.stack(philox4x32((np.arange(2, dtype=np.uint64), 5, 0, 0), (7, 0)), axis=-1).reshape(-1)
    assert integers([7], 5, (2, 3), 1000)[0].reshape(-1).tolist() == [int(word) * 1000 // 2**32 for word in words[:6]]


def test_every_integer_has_its_chance():
    counts = np.bincount(integers(range(1000), 0, (100,), 10).reshape(-1), minlength=10)
    assert counts.sum() == 100_000 and np.abs(counts - 10_000).max() < 500


@pytest.mark.parametrize("below", [0, -1, 2**31 + 1])
def test_integers_that_are_too_many_are_refused(below):
    with pytest.raises(ValueError, match=rf"PhiloxInteger: below is {below}, it must be 1\.\.2147483648"):
        integers([0], 0, (1,), below)


def test_reference_is_the_numpy_definition():
    seeds = torch.from_numpy(PHILOX_SEEDS)[:, None]
    assert np.array_equal(reference_integer(seeds, 3, (2, 5), 9).numpy(), integers(PHILOX_SEEDS, 3, (2, 5), 9))
    assert np.array_equal(reference(seeds, 3, (2, 5)).numpy(), normal(PHILOX_SEEDS, 3, (2, 5)))
    with pytest.raises(ValueError, match=r"it must be \[N, 1\]"):
        reference(seeds[:, 0], 3, (2, 5))
