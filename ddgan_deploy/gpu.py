"""What NVIDIA's driver says of the machine's GPU; asks it by ctypes, and imports nothing else."""

from __future__ import annotations

import ctypes
import sys

from ddgan_deploy.errors import InputError

_WINDOWS = sys.platform == "win32"
_DRIVER = "nvcuda.dll" if _WINDOWS else "libcuda.so.1"
_MANAGEMENT = "nvml.dll" if _WINDOWS else "libnvidia-ml.so.1"


def has_gpu() -> bool:
    """Whether there are a driver and a GPU; costs nothing where there is no driver."""
    driver = _library(_DRIVER)
    count = ctypes.c_int(0)
    return (
        driver is not None
        and driver.cuInit(0) == 0
        and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
        and count.value > 0
    )


def gpu_name() -> str:
    """The first GPU's name, such as "NVIDIA L4"; "" where there is none."""
    driver = _library(_DRIVER)
    device, text = ctypes.c_int(0), ctypes.create_string_buffer(100)
    named = (
        driver is not None
        and driver.cuInit(0) == 0
        and driver.cuDeviceGet(ctypes.byref(device), 0) == 0
        and driver.cuDeviceGetName(text, len(text), device) == 0
    )
    return text.value.decode() if named else ""


def driver_version() -> str | None:
    """The version of NVIDIA's driver, such as "580.65.06"; None where its management library is not there."""
    library = _library(_MANAGEMENT)
    if library is None or library.nvmlInit_v2() != 0:
        return None
    text = ctypes.create_string_buffer(80)
    known = library.nvmlSystemGetDriverVersion(text, len(text)) == 0
    library.nvmlShutdown()
    return text.value.decode() if known else None


def require_gpu(engine: str) -> None:
    """Refuses an engine that needs a GPU where there is none.

    Raises:
        InputError: there is no GPU or no driver.
    """
    if not has_gpu():
        raise InputError(
            f"engine {engine} needs an NVIDIA GPU and its driver, and here is none: choose --engine onnxruntime"
        )


def _library(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None
