"""TensorRT's and TensorRT-RTX's Python packages: whether they are there, and how to get them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

from ddgan_deploy.engines.tensorrt.plan import TITLES, Runtime
from ddgan_deploy.errors import InputError, NotInstalled

MODULES: Mapping[Runtime, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx_bindings"}
EXTRAS: Mapping[Runtime, str] = {"tensorrt": "gpu", "tensorrt-rtx": "tensorrt-rtx"}
"""The extra of our package that installs each."""


def installed(runtime: Runtime) -> bool:
    """Whether the package is there; it is not imported."""
    return importlib.util.find_spec(MODULES[runtime]) is not None


def import_runtime(runtime: Runtime) -> Any:
    """The Python module of a runtime.

    Raises:
        NotInstalled: it is not there.
        InputError: it is broken, such as without its libraries.
    """
    command = f"pip install 'ddgan-deploy[{EXTRAS[runtime]}]'"
    try:
        return importlib.import_module(MODULES[runtime])
    except ModuleNotFoundError:
        raise NotInstalled(f"engine {runtime} needs {TITLES[runtime]}, which is not installed: {command}") from None
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{TITLES[runtime]} cannot be loaded ({reason}): install it anew with {command}") from None
