"""Exports that several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.export import ExportOptions, ExportResult, export
from ddgan_deploy.families.ddgan.network import Generator
from tests.conftest import Golden
from tests.exports import Exports


def export_golden(
    golden: Golden, folder: Path, *, fp16: bool = False, int8: bool = False, **options: object
) -> ExportResult:
    """Exports a golden case into a folder."""
    precision = "int8" if int8 else "fp16" if fp16 else "fp32"
    return export(
        ExportOptions(
            checkpoint=golden.path,
            config=golden.config,
            steps=golden.steps,
            fp16=fp16,
            int8=int8,
            out=folder / f"{golden.name}-{precision}",
            engine="none",
            **options,
        )
    )


@pytest.fixture(scope="session")
def biggan_fp32(biggan: Golden, exports: Exports) -> Artifact:
    return exports.golden(biggan)


@pytest.fixture(scope="session")
def biggan_fp16(biggan: Golden, exports: Exports) -> Artifact:
    return exports.golden(biggan, "fp16")


def make_one_step_wrong(generator: Generator) -> None:
    """Its time biases at t = 1, the third of four steps, and at no other."""
    honest = generator.time_biases

    def wrong(t: torch.Tensor) -> list[torch.Tensor]:
        biases = honest(t)
        if t[0] == 1:
            # Not the same for all channels, since the normalization takes away a constant.
            biases[4] = biases[4] + torch.linspace(-1, 1, biases[4].shape[1])[None, :, None, None]
        return biases

    generator.time_biases = wrong
