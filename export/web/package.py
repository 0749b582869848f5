"""The npm package of onnxruntime-web that the user names, and what a page needs of it."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import shown

PACKAGE = "onnxruntime-web"
OLDEST = (1, 19, 2)
"""The oldest version that was tried; before 1.19 the package has other files."""
ENTRY, GLUE, BINARY, DESCRIPTION = (
    "ort.wasm.min.js",
    "ort-wasm-simd-threaded.js",
    "ort-wasm-simd-threaded.wasm",
    "package.json",
)
_NEEDED = {
    # Many servers do not know that .mjs is JavaScript, and a browser runs no module of another type.
    ENTRY: "dist/ort.wasm.min.mjs",
    GLUE: "dist/ort-wasm-simd-threaded.mjs",
    BINARY: "dist/ort-wasm-simd-threaded.wasm",
    DESCRIPTION: "package.json",
}
"""Name beside the page -> name in the package: ONNX Runtime for the CPU, in WebAssembly."""
_LICENCES = ("LICENSE", "ThirdPartyNotices.txt")
_WASM = b"\0asm"
_CHUNK = 2**20
_REMEDY = f"give node_modules/{PACKAGE}, or the .tgz that `npm pack {PACKAGE}` leaves"

Read = Callable[[str], bytes | None]
"""From a name in the package to what the file holds; None where it is not there."""


@dataclass(frozen=True)
class Runtime:
    """onnxruntime-web, as a page has it.

    Attributes:
        version: of the package.
        files: what the files hold, by their names beside the page.
    """

    version: str
    files: Mapping[str, bytes]


def read_package(package: Path) -> Runtime:
    """What a page needs of a package.

    Args:
        package: the package's folder, or the archive that `npm pack` makes of it.

    Raises:
        InputError: there is none, it is another one, too old a version, or its files are not there.
    """
    read = _folder_reader(package) if package.is_dir() else _archive_reader(package)
    version = _version(package, read(DESCRIPTION))
    files = {}
    for name, source in _NEEDED.items():
        content = read(source)
        if not content or (name == BINARY and not content.startswith(_WASM)):
            raise InputError(f"{package} has no {source}, as {PACKAGE} {version} should have: {_REMEDY}")
        files[name] = content
    return Runtime(version, files | _licences(read))


def _folder_reader(package: Path) -> Read:
    def read(name: str) -> bytes | None:
        try:
            return (package / name).read_bytes()
        except OSError:
            return None

    return read


def _archive_reader(package: Path) -> Read:
    wanted = {f"package/{name}" for name in (*_NEEDED.values(), *_LICENCES)}
    try:
        with gzip.open(package) as whole:
            # Of one pass: what is compressed cannot be read from the end.
            with tarfile.open(fileobj=whole, mode="r|") as archive:
                members = ((each.name, archive.extractfile(each)) for each in archive if each.isfile())
                contents = {name: file.read() for name, file in members if name in wanted and file is not None}
            # The checksum is at the end, where tarfile does not look: without it a damaged runtime would be taken.
            while whole.read(_CHUNK):
                pass
    except (gzip.BadGzipFile, tarfile.TarError, EOFError, zlib.error):
        raise InputError(f"{package} is no archive of npm's, or a damaged one: {_REMEDY}") from None
    except OSError as error:
        raise InputError(f"{package} cannot be read ({error.strerror or error}): {_REMEDY}") from None
    return lambda name: contents.get(f"package/{name}")


def _version(package: Path, description: bytes | None) -> str:
    """The version that the package says it has, if it can be used."""
    try:
        told = json.loads(description or b"")
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise InputError(f"{package} is no npm package, since it has no {DESCRIPTION} that can be read: {_REMEDY}")
    if told.get("name") != PACKAGE:
        raise InputError(f"{package} is the package {shown(told.get('name'))}, not {PACKAGE}: {_REMEDY}")
    version = str(told.get("version"))
    match = re.match(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})", version)
    if match is None or tuple(map(int, match.groups())) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise InputError(f"{package} has version {shown(version)} of {PACKAGE}: give {oldest} or newer")
    return version


def _licences(read: Read) -> dict[str, bytes]:
    """ONNX Runtime's own; where the npm package has none, those of its Python package."""
    found = importlib.util.find_spec("onnxruntime")
    installed = _folder_reader(Path(found.origin).parent) if found and found.origin else lambda _: None
    texts = {name: read(name) or installed(name) for name in _LICENCES}
    return {name: text for name, text in texts.items() if text}
