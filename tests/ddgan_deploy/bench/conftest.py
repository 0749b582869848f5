"""An artifact to measure, and workers that behave as a test wants."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Golden, golden_case
from tests.exports import Exports


@pytest.fixture(scope="session")
def small() -> Golden:
    """The golden case with the fewest steps."""
    return golden_case("no_fir_t2")


@pytest.fixture(scope="session")
def artifact(small: Golden, exports: Exports) -> Path:
    return exports.golden(small).path


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Replaces the engines: called with engine=behaviour, see `stand_in_worker`; engines without one are fast."""
    script = Path(__file__).with_name("stand_in_worker.py")
    monkeypatch.setattr("ddgan_deploy.bench.process._COMMAND", (sys.executable, str(script)))
    monkeypatch.setattr("ddgan_deploy.bench.measure.PAUSE", 0.0)

    def behave(behaviours: dict[str, object]) -> None:
        monkeypatch.setenv("STAND_IN", json.dumps(behaviours))

    return behave
