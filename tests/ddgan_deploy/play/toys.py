"""Small artifacts with knobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.families import registry
from tests.families.toy import write_checkpoint


def exported(folder: Path, *others: str) -> Path:
    """An artifact with a gain and labels, and with `toy.UPSAMPLER` a picture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.FAMILIES, "toy", "tests.families.toy")
        path = write_checkpoint(folder / "toy.safetensors", *others)
        return export(ExportOptions(path, out=folder / "a toy", engine="none", verify=False)).artifact.path
