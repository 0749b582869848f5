"""What processor this is, from the system itself."""

from __future__ import annotations

import platform
from pathlib import Path

_INSTRUCTIONS = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "sve", "i8mm", "bf16"),
)
"""Flags that say how fast products can be, on x86-64 and on 64-bit Arm."""
_VNNI = {"avx512_vnni", "avx_vnni"}


def cpu_model() -> str:
    """Such as "Intel(R) Xeon(R) Processor"."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def instruction_sets() -> tuple[str, ...]:
    """The CPU's vector instructions, by Linux's names."""
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return tuple(name for name in _INSTRUCTIONS if name in flags)


def has_exact_int8() -> bool:
    """Whether products of bytes are exact: x86-64 without VNNI adds two of them in 16 bits, which saturate."""
    return platform.machine() != "x86_64" or not _VNNI.isdisjoint(instruction_sets())


def has_bfloat16() -> bool:
    """Whether there are products of bfloat16 that the native library has."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(instruction_sets())


def _cpuinfo() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; empty where there is no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
