"""What machine this is, from the system itself."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path

from ddgan_deploy import __version__

_PACKAGES = ("torch", "onnx", "openvino", "tensorrt", "triton", "numpy")
_ONNXRUNTIMES = ("onnxruntime", "onnxruntime-gpu")
"""Both are the module onnxruntime; of two the one that is first on Python's path hides the other."""
_INSTRUCTIONS = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "sve", "i8mm", "bf16"),
)
"""Flags that say how fast products can be, on x86-64 and on 64-bit Arm."""


def cpu_model() -> str:
    """Such as "Intel(R) Xeon(R) Processor"."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def instruction_sets() -> tuple[str, ...]:
    """The CPU's vector instructions, by Linux's names."""
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return tuple(name for name in _INSTRUCTIONS if name in flags)


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


def _cpuinfo() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; empty where there is no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
