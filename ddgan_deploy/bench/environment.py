"""What machine this is, from the system itself."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from pathlib import Path

from ddgan_deploy import __version__

_PACKAGES = ("torch", "onnx", "openvino", "tensorrt", "triton", "numpy")
_ONNXRUNTIMES = ("onnxruntime", "onnxruntime-gpu")
"""Both are the module onnxruntime; of two the one that is first on Python's path hides the other."""


def memory_gb() -> float:
    """Of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def versions() -> dict[str, str]:
    """Of the packages that are installed; none is imported."""
    found = {"ddgan-deploy": __version__}
    for package in (*_PACKAGES, *_ONNXRUNTIMES):
        try:
            distribution = importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        if package not in _ONNXRUNTIMES or _is_imported(distribution):
            found[package] = distribution.version
    return found


def _is_imported(distribution: importlib.metadata.Distribution) -> bool:
    """Whether the module onnxruntime is this one's."""
    spec = importlib.util.find_spec("onnxruntime")
    ours = Path(str(distribution.locate_file("onnxruntime"))) / "__init__.py"
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == ours.resolve()
