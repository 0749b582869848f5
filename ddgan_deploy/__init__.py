"""From a trained Denoising Diffusion GAN to a production server.

Importing it keeps ONNX Runtime and OpenVINO from reporting to their makers, so long as neither was imported before.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ddgan_deploy.checkpoint import load_checkpoint
    from ddgan_deploy.engines import open_artifact

__version__ = "0.1.0"
__all__ = ["__version__", "load_checkpoint", "open_artifact"]

# Else ONNX Runtime writes a device id into HOME and looks up a host. Child processes inherit it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# OpenVINO reports its own import, and has a stand-in for where this package is not installed.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def __getattr__(name: str) -> object:
    # Imported at first use: PyTorch alone takes seconds, and most commands need no PyTorch.
    if name == "load_checkpoint":
        from ddgan_deploy.checkpoint import load_checkpoint

        return load_checkpoint
    if name == "open_artifact":
        from ddgan_deploy.engines import open_artifact

        return open_artifact
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
