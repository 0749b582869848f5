"""From a trained Denoising Diffusion GAN to a production server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ddgan_deploy.checkpoint import load_checkpoint
    from ddgan_deploy.engines import open_artifact

__version__ = "0.1.0"
__all__ = ["__version__", "load_checkpoint", "open_artifact"]


def __getattr__(name: str) -> object:
    # Imported at first use: PyTorch alone takes seconds, and most commands need no PyTorch.
    if name == "load_checkpoint":
        from ddgan_deploy.checkpoint import load_checkpoint

        return load_checkpoint
    if name == "open_artifact":
        from ddgan_deploy.engines import open_artifact

        return open_artifact
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
