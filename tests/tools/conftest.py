"""Where the modules of tools/ are found, and a small bundle of two items."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.tools.small_bundle import bundle, tree

ROOT = Path(__file__).parents[2]
# They are programs, started as files.
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tools" / "gpu_machine")]


@pytest.fixture
def quiet(monkeypatch):
    """The table takes seconds; it has tests of its own."""
    import unpack

    monkeypatch.setattr(unpack, "show", lambda home, native: None)


@pytest.fixture
def whole(tmp_path) -> tuple[Path, list[Path]]:
    """A folder of sources, and the folders of a bundle's pieces."""
    files = tree(tmp_path / "sources")
    return tmp_path / "sources", bundle(tmp_path / "bundle", files)
