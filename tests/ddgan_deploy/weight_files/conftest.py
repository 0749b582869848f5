from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from ddgan_deploy import checkpoint


@pytest.fixture(autouse=True, scope="package")
def _fast() -> Iterator[None]:
    """Builds the reference once for an architecture, not once for a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "_expected_shapes", functools.cache(checkpoint._expected_shapes))
        yield
