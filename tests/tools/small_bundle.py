"""Bundles of a few small files in tiny pieces, and what a home has of them."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import numpy as np

LIMIT = 4000
FILE, LINK = stat.S_IFREG, stat.S_IFLNK


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def archive_with(path: Path, *members: tuple[str, int, bytes]) -> Path:
    """An archive of (path, file type, content)."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, kind, content in members:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, (kind | 0o644) << 16
            archive.writestr(info, content)
    return path


def tree(folder: Path, main: bytes = b"print()\n") -> dict[str, Path]:
    """Files of every kind, as a bundle takes them."""
    folder.mkdir()
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "main.py").write_bytes(main)
    (folder / "empty").touch()
    (folder / "runs.sh").write_text("#!/bin/sh\n")
    (folder / "runs.sh").chmod(0o755)
    (folder / "deep" / "large").write_bytes(noise(3 * LIMIT))
    (folder / "deep" / "er" / "back").symlink_to("../large")
    (folder / "folder").symlink_to("deep/er")
    paths = [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
    return {str(path.relative_to(folder)): path for path in paths}


def wheel(path: Path, size: int = 2 * LIMIT) -> Path:
    return archive_with(
        path,
        ("package/__init__.py", FILE, b""),
        ("package/data", FILE, noise(size, seed=1)),
        ("package-1.0.data/platlib/package/native.so", FILE, b"elf"),
        ("package-1.0.data/scripts/run", FILE, b"#!python"),
        ("package-1.0.dist-info/METADATA", FILE, b"Name: package\nVersion: 1.0\n"),
    )


def bundle(folder: Path, files: dict[str, Path], *, limit: int = LIMIT) -> list[Path]:
    """The pieces of a bundle of sources and one wheel, each in a folder of its own."""
    folder.mkdir()
    from archives import make_archive
    from pieces import Source, write_pieces

    make_archive(files, folder / "sources.zip")
    sources = [
        Source("sources", "1", "src", folder / "sources.zip"),
        Source("package", "1.0", "site", wheel(folder / "package.whl"), apart=True),
    ]
    write_pieces(sources, folder, limit)
    pieces = sorted(folder.glob("*.piece"))
    for number, piece in enumerate(pieces):
        (folder / str(number)).mkdir()
        piece.rename(folder / str(number) / piece.name)
    return [folder / str(number) for number in range(len(pieces))]


def only(folder: Path) -> Path:
    (path,) = folder.glob("*.piece")
    return path


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """Every file and link with its content and mode."""
    found: dict[str, tuple[object, ...]] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_file():
            found[name] = ("file", path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    return found


def run(*arguments: object) -> int:
    import unpack

    return unpack.main([str(argument) for argument in arguments])


def assert_is_there(home: Path, sources: Path) -> None:
    assert snapshot(home / "src") == snapshot(sources)
    names = {"package/__init__.py", "package/data", "package/native.so", "package-1.0.dist-info/METADATA"}
    assert set(snapshot(home / "site")) == names
    assert (home / "site" / "package" / "data").read_bytes() == noise(2 * LIMIT, seed=1)
    assert not list((home / "parts").iterdir()) and not list((home / "scratch").iterdir())
