"""Prints what a GPU machine has, as this process finds it: inventory.py HOME [WORD ON THE NATIVE LIBRARY].

Standard library alone; everything else is looked for, and its absence is a row of the table.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

ABSENT = "not there"
_QUERY = ["--query-gpu=name,compute_cap,memory.total,driver_version", "--format=csv,noheader"]
_MODULES = ("torch", "onnxruntime", "tensorrt", "tensorrt_rtx_bindings")
_PROGRAMS = ("nvcc", "ncu", "compute-sanitizer", "g++", "cmake", "ninja")


def rows(home: Path, native: str) -> list[tuple[str, str]]:
    """What there is, as name and version or reason.

    Args:
        home: an unpacked bundle's folder.
        native: what the build said, "" where it had nothing to do.
    """
    found = [("Python", sys.version.split()[0]), ("GPU", _gpu()), ("driver's CUDA", _driver_cuda())]
    found.append(("PyTorch", _tried(_torch)))
    found += [(name, _version(name)) for name in ("triton", "onnx", "onnx-ir", "onnxscript", "numpy", "pydantic")]
    found.append(("ONNX Runtime", _tried(_onnxruntime)))
    found.append(("TensorRT", _tried(lambda: _loaded("tensorrt"))))
    found.append(("TensorRT-RTX", _tried(lambda: _loaded("tensorrt_rtx_bindings"))))
    found.append(("native library", _native(native)))
    found.append(("ddgan_deploy", _tried(lambda: _ours(home))))
    found += [(program, _program(program)) for program in _PROGRAMS]
    return found


def not_taken(project: Path) -> list[str]:
    """A line for each installed package in a version that a pyproject.toml does not take."""
    table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    optional = [line for lines in table["optional-dependencies"].values() for line in lines]
    lines = []
    for name, least in sorted(least_versions([*table["dependencies"], *optional]).items()):
        have = _version(name)
        if have != ABSENT and _numbers(have) < _numbers(least):
            lines.append(f"{name} {have} is older than {least}, the oldest that the package takes")
    return lines


def least_versions(requirements: Sequence[str]) -> dict[str, str]:
    """Package -> the oldest version that is taken, of lines such as ``triton>=3.5``; others are passed over."""
    found = (re.match(r"([\w.-]+)(?:\[.*?\])?\s*>=\s*([\d.]+)", line) for line in requirements)
    return {match[1].lower(): match[2] for match in found if match}


def _numbers(version: str) -> tuple[int, ...]:
    """Of the release, without trailing zeros: 1.0 is 1.0.0."""
    release = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(number) for number in release[0].split(".")] if release else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _tried(look: Callable[[], str]) -> str:
    try:
        return look()
    except Exception as error:
        # A package that is half there may fail in any way; what it says is the row.
        if isinstance(error, ModuleNotFoundError) and error.name in _MODULES:
            return ABSENT
        lines = str(error).strip().splitlines()
        return f"cannot be loaded: {lines[0] if lines else type(error).__name__}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ABSENT


def said_by(*command: str) -> str:
    """What a program prints, "" where it is not there or fails."""
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout if told.returncode == 0 else ""


def _gpu() -> str:
    lines = [line.split(", ") for line in said_by("nvidia-smi", *_QUERY).strip().splitlines()]
    shown = [
        f"{name}, compute capability {capability}, {memory}, driver {driver}"
        for name, capability, memory, driver in (line for line in lines if len(line) == 4)
    ]
    return "; ".join(shown) or ABSENT


def _driver_cuda() -> str:
    found = re.search(r"CUDA (?:UMD )?Version:\s*([\d.]+)", said_by("nvidia-smi"))
    return found[1] if found else ABSENT


def _torch() -> str:
    torch = importlib.import_module("torch")
    cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    return f"{torch.__version__}, {cuda}, {'sees the GPU' if torch.cuda.is_available() else 'sees no GPU'}"


def _onnxruntime() -> str:
    runtime = importlib.import_module("onnxruntime")
    providers = runtime.get_available_providers()
    short = ", ".join(provider.removesuffix("ExecutionProvider") for provider in providers)
    return f"{runtime.__version__}, providers {short}" + _cuda_provider(Path(str(runtime.__file__)).parent / "capi")


def _cuda_provider(folder: Path) -> str:
    """Why the CUDA provider cannot be loaded: ONNX Runtime names it as available all the same."""
    provider = folder / "libonnxruntime_providers_cuda.so"
    if not provider.exists():
        return ""
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), mode=os.RTLD_GLOBAL)
        ctypes.CDLL(str(provider))
    except OSError as error:
        return f"; CUDA cannot be loaded: {error}"
    return ""


def _loaded(name: str) -> str:
    return str(importlib.import_module(name).__version__)


def _native(said: str) -> str:
    path = os.environ.get("DDGAN_ORT_LIBRARY", "")
    if not path:
        return said or ABSENT
    with contextlib.suppress(ImportError):
        runtime = importlib.import_module("onnxruntime")
        try:
            runtime.SessionOptions().register_custom_ops_library(path)
        except Exception as error:
            return f"built, and ONNX Runtime refuses it: {error}"
        return "built, ONNX Runtime takes it"
    return "built"


def _ours(home: Path) -> str:
    ours = importlib.import_module("ddgan_deploy")
    place = Path(str(ours.__file__)).parent
    return f"{ours.__version__}" if place == home / "src" / "ddgan_deploy" else f"another one hides it: {place}"


def _program(name: str) -> str:
    if not shutil.which(name):
        return ABSENT
    text = said_by(name, "--version")
    found = re.search(r"release ([\d.]+\d)", text) or re.search(r"\d+(?:\.\d+)+", text)
    return (found[1] if found.re.groups else found[0]) if found else "says no version"


def main(home: Path, native: str) -> None:
    """Prints the table, and what in it is too old."""
    found = rows(home, native)
    width = max(len(name) for name, _ in found)
    for name, value in found:
        print(f"{name:<{width}}  {value}", flush=True)
    project = home / "src" / "pyproject.toml"
    if project.is_file():
        for line in not_taken(project):
            print(f"too old: {line}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), " ".join(sys.argv[2:]))
