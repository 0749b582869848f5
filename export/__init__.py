"""From a checkpoint to an artifact: the way of the data, one file a stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ddgan_deploy.export.options import ExportOptions
    from ddgan_deploy.export.pipeline import export
    from ddgan_deploy.export.proof import ExportResult, FailedGate

__all__ = ["ExportOptions", "ExportResult", "FailedGate", "export"]


def __getattr__(name: str) -> object:
    # Imported at first use, so that the command line answers --help without PyTorch.
    if name in __all__:
        from ddgan_deploy.export import options, pipeline, proof

        return next(getattr(module, name) for module in (options, proof, pipeline) if hasattr(module, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
