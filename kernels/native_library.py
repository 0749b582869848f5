"""Where the native ONNX Runtime library lies, if it was built."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

ENVIRONMENT_VARIABLE = "DDGAN_ORT_LIBRARY"
"""Names a library to use in place of the installed one."""
_NAME = "libddgan_onnxruntime.so"


def ort_library() -> Path | None:
    """The library to register with an ONNX Runtime session, or None where it was not built.

    Without it ONNX Runtime runs the ops by their function bodies.

    Raises:
        FileNotFoundError: the environment variable DDGAN_ORT_LIBRARY names no file.
    """
    if wanted := os.environ.get(ENVIRONMENT_VARIABLE):
        path = Path(wanted)
        if not path.is_file():
            raise FileNotFoundError(f"{ENVIRONMENT_VARIABLE} is {wanted}, which is not a file: build it, or unset it")
        return path.resolve()
    # An editable installation has two folders, the sources' and the one of what was compiled.
    folders = importlib.import_module(__package__).__path__ if __package__ else [str(Path(__file__).parent)]
    for folder in folders:
        path = Path(folder) / _NAME
        if path.is_file():
            return path.resolve()
    return None
