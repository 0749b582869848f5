"""PhiloxNormal: its function body against the NumPy definition, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddgan_deploy.kernels.philox_normal.philox import normal
from ddgan_deploy.kernels.philox_normal.spec import SPEC, reference
from tests.kernels.conftest import run_body

SEEDS = np.array([0, 1, -1, 2**31, -(2**63), 2**63 - 1, 12345678901234567], np.int64)


@pytest.mark.parametrize("stream", [0, 1, 128])
@pytest.mark.parametrize("shape", [(3, 32, 32), (100,), (1,), (5, 1, 3), (1, 16)], ids=str)
def test_function_body(shape, stream):
    values = run_body(SPEC, (SEEDS[:, None],), stream=stream, shape=shape)
    expected = normal(SEEDS, stream, shape)
    assert values.shape == expected.shape
    # The integers are equal bit for bit; log, cos and sin may differ in their last place.
    np.testing.assert_array_max_ulp(values, expected, maxulp=2)


def test_reference_is_the_numpy_definition():
    seeds = torch.from_numpy(SEEDS)[:, None]
    assert np.array_equal(reference(seeds, 3, (2, 5)).numpy(), normal(SEEDS, 3, (2, 5)))
    with pytest.raises(ValueError, match=r"it must be \[N, 1\]"):
        reference(seeds[:, 0], 3, (2, 5))
