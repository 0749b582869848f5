"""Artifacts that all processes of a run share: who asks first exports one, with its gates, and nobody changes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.data import DIGITS_STEPS, digits_checkpoint
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.sampler import Precision
from tests.locks import locked

if TYPE_CHECKING:
    from tests.conftest import Golden


@dataclass(frozen=True)
class Exports:
    """What the tests of a run have exported so far.

    Attributes:
        folder: with an artifact a folder.
    """

    folder: Path

    def golden(self, golden: Golden, precision: Precision = "fp32") -> Artifact:
        """A golden case's."""
        return self._made(f"{golden.name}-{precision}", golden.path, golden.steps, golden.config, precision)

    def stylegan2(self, case: str) -> Artifact:
        """A golden snapshot's."""
        folder = Path(__file__).parent / "data" / "stylegan2" / case
        return self._made(f"{case}-fp32", folder / "snapshot.pkl", 1, folder / "args.json", "fp32")

    def digits(self, precision: Precision = "fp32") -> Artifact:
        """The bundled checkpoint's."""
        return self._made(f"digits-{precision}", digits_checkpoint(), DIGITS_STEPS, None, precision)

    def _made(self, name: str, checkpoint: Path, steps: int, config: Path | None, precision: Precision) -> Artifact:
        out = self.folder / name
        with locked(self.folder / f"{name}.lock"):
            if not out.exists():
                fp16, int8 = precision == "fp16", precision == "int8"
                export(ExportOptions(checkpoint, steps, fp16, config, out, engine="none", int8=int8))
        return read_artifact(out)
