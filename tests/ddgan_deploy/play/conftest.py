"""Opened artifacts with knobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.engines.base import Engine
from tests.ddgan_deploy.play.toys import exported
from tests.families.toy import UPSAMPLER


@pytest.fixture(scope="package")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a gain and labels."""
    return exported(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="package")
def opened(toy: Path) -> Iterator[Engine]:
    with open_artifact(toy, "onnxruntime-portable") as engine:
        yield engine


@pytest.fixture(scope="package")
def upsampler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """With a picture besides."""
    with open_artifact(exported(tmp_path_factory.mktemp("upsampler"), UPSAMPLER), "onnxruntime-portable") as engine:
        yield engine
