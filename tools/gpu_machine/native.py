"""Builds the native ONNX Runtime library of a home, once for each content of its sources. Standard library alone."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

NAME = "libddgan_onnxruntime.so"
_SOURCES = ("*.cc", "*.h", "*.map")
_HEADERS = "build/onnxruntime-headers"


class NotBuilt(Exception):
    """The build was tried and failed; the message is one line."""


def library(home: Path) -> Path:
    """Where the library of a home lies, or will lie."""
    return home / "lib" / NAME


def build(home: Path) -> str:
    """Builds the library where what it is made of has come and is not what the library was made of.

    Returns:
        What there is to say of it, such as what is yet to come; "" where it was up to date.

    Raises:
        NotBuilt: cmake or the compiler failed. There is no library then.
    """
    source = home / "src"
    if not (source / "CMakeLists.txt").is_file():
        return "not built yet, its sources are still to come"
    if not (source / _HEADERS / "include").is_dir():
        return "not built yet, ONNX Runtime's headers are still to come"
    content, marker, built = _content(source), home / "lib" / "content", library(home)
    if built.is_file() and marker.is_file() and marker.read_text() == content:
        return ""
    # Another content's library would run with these Python files.
    for path in (marker, built):
        path.unlink(missing_ok=True)
    if missing := [program for program in ("cmake", "c++") if not shutil.which(program)]:
        return f"not built, {' and '.join(missing)} missing on PATH"
    folder, log = home / "build", home / "build.log"
    shutil.rmtree(folder, ignore_errors=True)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    commands = [
        ["cmake", "-S", str(source), "-B", str(folder), *generator],
        ["cmake", "--build", str(folder), "--parallel"],
    ]
    with log.open("wb") as output:
        for command in commands:
            if subprocess.run(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL).returncode:
                raise NotBuilt(f"the native library could not be built: see {log}")
    if not (folder / NAME).is_file():
        raise NotBuilt(f"the native library could not be built: {_notice(log) or 'see ' + str(log)}")
    built.parent.mkdir(exist_ok=True)
    shutil.copy(folder / NAME, built.with_suffix(".partial"))
    built.with_suffix(".partial").replace(built)
    marker.write_text(content)
    shutil.rmtree(folder)
    return "built"


def _content(source: Path) -> str:
    """Of all that the library is made of."""
    paths = [path for pattern in _SOURCES for path in (source / "kernels").rglob(pattern)]
    paths += [path for path in (source / _HEADERS).rglob("*") if path.is_file()]
    whole = hashlib.sha256()
    for path in sorted([source / "CMakeLists.txt", *paths]):
        whole.update(f"{path.relative_to(source)}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def _notice(log: Path) -> str:
    """What our CMakeLists.txt says where it builds nothing."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.removeprefix("ddgan: ") for line in lines if line.startswith("ddgan: ")), "")
