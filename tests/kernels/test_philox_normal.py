"""PhiloxNormal: its function body against the NumPy definition, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddgan_deploy.kernels.philox_normal.philox import normal
from ddgan_deploy.kernels.philox_normal.spec import SPEC, reference
from tests.kernels.cases import PHILOX_SEEDS, PHILOX_SHAPES, PHILOX_STREAMS, PHILOX_ULP
from tests.kernels.conftest import run_body


@pytest.mark.parametrize("stream", PHILOX_STREAMS)
@pytest.mark.parametrize("shape", PHILOX_SHAPES, ids=str)
def test_function_body(shape, stream):
    values = run_body(SPEC, (PHILOX_SEEDS[:, None],), stream=stream, shape=shape)
    expected = normal(PHILOX_SEEDS, stream, shape)
    assert values.shape == expected.shape
    np.testing.assert_array_max_ulp(values, expected, maxulp=PHILOX_ULP)


def test_reference_is_the_numpy_definition():
    seeds = torch.from_numpy(PHILOX_SEEDS)[:, None]
    assert np.array_equal(reference(seeds, 3, (2, 5)).numpy(), normal(PHILOX_SEEDS, 3, (2, 5)))
    with pytest.raises(ValueError, match=r"it must be \[N, 1\]"):
        reference(seeds[:, 0], 3, (2, 5))
