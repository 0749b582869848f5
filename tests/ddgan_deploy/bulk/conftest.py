"""A small artifact that has knobs."""

from __future__ import annotations

import pytest

from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.families import registry
from tests.families.toy import write_checkpoint
from tests.locks import locked


@pytest.fixture(scope="session")
def toy(shared_folder):
    """The folder of an artifact with knobs label and gain, whose images are uint8 [8, 8, 3]."""
    folder = shared_folder / "toy"
    with locked(shared_folder / "toy.lock"), pytest.MonkeyPatch.context() as patch:
        if not folder.exists():
            patch.setitem(registry.FAMILIES, "toy", "tests.families.toy")
            checkpoint = write_checkpoint(shared_folder / "toy.safetensors")
            export(ExportOptions(checkpoint, out=folder, engine="none"))
    return folder
