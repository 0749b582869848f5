"""An artifact in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ddgan_deploy.artifact.made import fill


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    folder.mkdir()
    fill(folder)
    return folder
