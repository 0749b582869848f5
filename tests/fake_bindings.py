"""What the stand-ins for TensorRT share: its module, its version and its logger."""

from __future__ import annotations

import enum
import importlib.machinery
import types
from typing import Any

VERSION, RTX_VERSION = "11.4.0.106", "1.7.1.116"


class Severity(enum.Enum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    """A base class that takes messages only where its subclasses have initialized it."""

    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity

    def __init__(self) -> None:
        self.started = True


def new_module(api: object, rtx: bool) -> Any:
    """A module ``tensorrt`` or ``tensorrt_rtx_bindings`` with a logger; ``api`` is to tell what was done with it."""
    name = "tensorrt_rtx_bindings" if rtx else "tensorrt"
    module: Any = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__version__ = RTX_VERSION if rtx else VERSION
    module.ILogger, module.api = ILogger, api
    return module
