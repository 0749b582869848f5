"""The Philox ops' C++ kernels, on every instruction set, against the NumPy definition."""

from __future__ import annotations

import numpy as np
import pytest

from ddgan_deploy.kernels.philox_normal.philox import integers, normal
from ddgan_deploy.kernels.philox_normal.spec import INTEGER, NORMAL_AT, SPEC
from tests.kernels.cases import PHILOX_BELOW, PHILOX_SEEDS, PHILOX_SHAPES, PHILOX_STREAMS, PHILOX_ULP
from tests.kernels.conftest import op_model


@pytest.mark.parametrize("stream", [*PHILOX_STREAMS, 2**32 - 1])
@pytest.mark.parametrize("shape", [*PHILOX_SHAPES, (3, 127, 129), (0, 4)], ids=str)
def test_every_stream_and_seed(native, shape, stream):
    values = native.run(SPEC, (PHILOX_SEEDS[:, None],), stream=stream, shape=shape)
    expected = normal(PHILOX_SEEDS, stream, shape)
    assert values.dtype == np.float32
    assert values.shape == expected.shape
    np.testing.assert_array_max_ulp(values, expected, maxulp=PHILOX_ULP)


@pytest.mark.parametrize("stream", [*PHILOX_STREAMS, 2**32 - 1, 2**40 + 1, -1])
def test_a_stream_that_is_an_input(native, stream):
    seeds = PHILOX_SEEDS[:, None]
    values = native.run(NORMAL_AT, (seeds, np.array(stream)), shape=(3, 67, 61))
    np.testing.assert_array_equal(values, native.run(SPEC, (seeds,), stream=stream % 2**32, shape=(3, 67, 61)))


@pytest.mark.parametrize("below", PHILOX_BELOW)
@pytest.mark.parametrize("shape", [(), (1,), (5, 1, 3), (3, 127, 129), (0, 4)], ids=str)
def test_integers(native, shape, below):
    attributes = {"stream": 2**32 - 1, "shape": shape, "below": below}
    values = native.run(INTEGER, (PHILOX_SEEDS[:, None],), **attributes)
    assert values.dtype == np.int64
    np.testing.assert_array_equal(values, integers(PHILOX_SEEDS, 2**32 - 1, shape, below))


def test_millions_of_values(native):
    values = native.run(SPEC, (PHILOX_SEEDS[:, None],), stream=1, shape=(1000, 1000))
    np.testing.assert_array_max_ulp(values, normal(PHILOX_SEEDS, 1, (1000, 1000)), maxulp=PHILOX_ULP)


def test_bits_depend_neither_on_threads_nor_on_the_batch(native):
    attributes = {"stream": 2, "shape": (3, 61, 67)}
    seeds = PHILOX_SEEDS[:, None]
    values = native.run(SPEC, (seeds,), threads=2, **attributes)
    np.testing.assert_array_equal(native.run(SPEC, (seeds,), threads=1, **attributes), values)
    for n in range(len(seeds)):
        np.testing.assert_array_equal(native.run(SPEC, (seeds[n : n + 1],), **attributes), values[n : n + 1])


def test_no_seed_gives_no_sample(native):
    values = native.run(SPEC, (np.zeros((0, 1), np.int64),), stream=0, shape=(3, 4))
    assert values.shape == (0, 3, 4)


@pytest.mark.parametrize(
    ("seed", "attributes", "message"),
    [
        ((2,), {}, r"PhiloxNormal: seed has shape \[2\], it must be \[N, 1\]"),
        ((2, 2), {}, r"PhiloxNormal: seed has shape \[2, 2\], it must be \[N, 1\]"),
        ((2, 1), {"stream": -1}, r"PhiloxNormal: stream is -1, it must be 0 to 2\^32 - 1"),
        ((2, 1), {"shape": (3, -1)}, r"PhiloxNormal: shape is \[3, -1\], its extents must not be negative"),
    ],
)
def test_what_does_not_fit_is_refused(native, seed, attributes, message):
    seeds = np.zeros(seed, np.int64)
    model = op_model(SPEC, (seeds,), **{"stream": 0, "shape": (3, 4), **attributes})
    with pytest.raises(Exception, match=message):
        native.session(model).run(None, {"seed": seeds})


@pytest.mark.parametrize("below", [0, 2**31 + 1])
def test_integers_that_are_too_many_are_refused(native, below):
    with pytest.raises(Exception, match=rf"PhiloxInteger: below is {below}, it must be 1 to 2\^31"):
        native.run(INTEGER, (PHILOX_SEEDS[:, None],), stream=0, shape=(3,), below=below)


def test_a_stream_of_several_numbers_is_refused(native):
    with pytest.raises(Exception, match=r"PhiloxNormalAt: stream has shape \[1\], it must be \[\]"):
        native.run(NORMAL_AT, (PHILOX_SEEDS[:, None], np.array([1])), shape=(3,))
