"""The npm package of onnxruntime-web: a stand-in, for what does not run it, and the one that `make setup` fetched."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = {
    "dist/ort.wasm.min.mjs": b"export const InferenceSession = {};",
    "dist/ort-wasm-simd-threaded.mjs": b"export default async () => {};",
    "dist/ort-wasm-simd-threaded.wasm": b"\0asm\1\0\0\0",
}


def make_package(folder: Path, name: str = "onnxruntime-web", version: object = "1.30.0", lacks: str = "") -> Path:
    """A package's folder with all that is needed, or all but one file."""
    for path, content in {**FILES, "package.json": json.dumps({"name": name, "version": version}).encode()}.items():
        if path != lacks:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    return folder


def pack(folder: Path, archive: Path) -> Path:
    """As `npm pack` does."""
    with tarfile.open(archive, "w:gz") as made:
        made.add(folder, "package")
    return archive


def real_package() -> Path:
    """The archive of the real one; the test is skipped without it, or fails where continuous integration runs."""
    found = sorted((ROOT / "build").glob("onnxruntime-web-*.tgz"))
    if not found:
        reason = "there is no build/onnxruntime-web-*.tgz: run tools/fetch_onnxruntime_web.py"
        pytest.fail(reason) if "CI" in os.environ else pytest.skip(reason)
    return found[-1]
