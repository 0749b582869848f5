"""Folders of files as zip archives, both ways: files, links and modes. Standard library alone.

An archive may come from anywhere: nothing is written outside the folder that it is unpacked into.
"""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pieces import BundleError

_DATE = (1980, 1, 1, 0, 0, 0)
"""The same files give the same archive whenever it is made."""
_PATH = 4096
"""Bytes of a path, at most."""


def make_archive(files: Mapping[str, Path], target: Path) -> None:
    """Writes files into an archive, links as links.

    Args:
        files: path in the archive -> the file or the link.
    """
    with zipfile.ZipFile(target, "w") as archive:
        for name, path in sorted(files.items()):
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
            if path.is_symlink():
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(info, os.readlink(path))
            else:
                runs = path.stat().st_mode & 0o100
                info.external_attr = (stat.S_IFREG | (0o755 if runs else 0o644)) << 16
                info.file_size = path.stat().st_size
                with path.open("rb") as read, archive.open(info, "w") as written:
                    shutil.copyfileobj(read, written, 1 << 20)


def unpack_archive(path: Path, folder: Path, scratch: Path) -> list[str]:
    """Unpacks an archive, a wheel's installed files to where Python looks for them.

    Each file is there whole or not at all; one that was there is replaced.

    Args:
        folder: it is made where it is not there.
        scratch: a folder of the same file system, for the file at hand.

    Returns:
        The paths of all files and links in ``folder``.

    Raises:
        BundleError: it is no archive, or would write outside the folder; then nothing has been written. Or a member is
            not what the archive says. The message is a clause for the end of a sentence.
        OSError: the disk is full, or the folder cannot be written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _checked(archive)
            free, needed = shutil.disk_usage(scratch).free, sum(info.file_size for info in members.values())
            if needed > free:
                raise BundleError(f"takes {needed / 1e6:.0f} MB where {free / 1e6:.0f} MB are free: free some space")
            folder.mkdir(parents=True, exist_ok=True)
            # Links come last, so that no file goes through one.
            for name, info in sorted(members.items(), key=lambda member: (_is_link(member[1]), member[0])):
                _unpack(archive, info, folder, name, scratch / "member")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError):
        raise BundleError("is not an archive that can be read") from None
    return sorted(members)


def _checked(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Path in the folder -> member; checked before anything is written."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        path = PurePosixPath(info.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in info.filename or not path.parts:
            raise BundleError(f"has the path {info.filename!r}, which leaves its folder")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR):
            raise BundleError(f"has {info.filename!r}, which is neither a file nor a link")
        if info.is_dir():
            continue
        if path.parts[0].endswith(".data"):
            # Programs, headers and the like are of no use without an installation.
            if len(path.parts) < 3 or path.parts[1] not in ("purelib", "platlib"):
                continue
            path = PurePosixPath(*path.parts[2:])
        members[str(path)] = info
    paths = {PurePosixPath(name): info for name, info in members.items()}
    for path in paths:
        if not paths.keys().isdisjoint(path.parents):
            raise BundleError(f"has the path {str(path)!r}, which goes through a file or a link")
    for link in (path for path, info in paths.items() if _is_link(info)):
        info = members[str(link)]
        target = os.fsdecode(archive.read(info)) if info.file_size <= _PATH else "/"
        end = os.path.normpath(link.parent / target)
        # Behind a name that is itself a link ".." is not what it looks like.
        plain = target == os.path.normpath(target) and not target.startswith("/") and "\0" not in target
        if not plain or end == ".." or end.startswith("../"):
            raise BundleError(f"has the link {str(link)!r}, which leaves its folder")
    return members


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path, name: str, partial: Path) -> None:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    # What an earlier archive left may be a link.
    if target.parent.resolve() != folder.resolve() / PurePosixPath(name).parent:
        raise BundleError(f"has the path {name!r}, which goes through a link")
    partial.unlink(missing_ok=True)
    if _is_link(info):
        partial.symlink_to(os.fsdecode(archive.read(info)))
    else:
        with archive.open(info) as read, partial.open("wb") as written:
            shutil.copyfileobj(read, written, 1 << 20)
        if partial.stat().st_size != info.file_size:
            raise BundleError(f"has {name!r}, which is cut")
        mode = (info.external_attr >> 16) & 0o777
        partial.chmod(mode | 0o600 if mode else 0o644)
    if target.is_dir() and not target.is_symlink():
        raise BundleError(f"has the file {name!r}, where a folder is")
    partial.replace(target)
