"""pytest --quick leaves out what exports, compiles, interprets a kernel, or starts a server, a browser or a Python.

A test is told by what it does, not by a list: it is skipped when it comes to one of these doors.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

_DOORS = (
    "torch.onnx.export",
    "torch.compile",
    "triton.compile",
    "triton.runtime.interpreter.GridExecutor.__call__",
    "ddgan_deploy.serving.server.tritonserver.found_server",
    "ddgan_deploy.export.tensorrt.engines.build_engine",
    "ray.cluster_utils.Cluster.__init__",
    "tests.browser.find_browser",
)
_COMPILERS = {"c++", "g++", "cmake"}


def close_doors(patch: pytest.MonkeyPatch) -> None:
    """Skips whatever test comes to one of the doors from now on."""

    def skip(*_: object, **__: object) -> NoReturn:
        pytest.skip("not with --quick")

    for door in _DOORS:
        with contextlib.suppress(ImportError):
            patch.setattr(door, skip)

    class Popen(subprocess.Popen[Any]):
        def __init__(self, args: Any, *others: Any, **options: Any) -> None:
            program = Path(args if isinstance(args, str) else next(iter(args)))
            if program == Path(sys.executable) or program.name in _COMPILERS:
                skip()
            super().__init__(args, *others, **options)

    patch.setattr(subprocess, "Popen", Popen)
