"""What the python backend runs: the engine, and what looks at its images and hands them on.

The server calls `initialize` once, then `execute` with the requests of a batch, and at its end `finalize`. The module
``triton_python_backend_utils``, which exists in its process alone, is handed in by the repository's ``model.py``.
"""

from __future__ import annotations

from ddgan_deploy.serving.backend.engine_model import EngineModel
from ddgan_deploy.serving.backend.last_model import PixelModel, PngModel

__all__ = ["EngineModel", "PixelModel", "PngModel"]
