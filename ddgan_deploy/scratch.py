"""Folders that nobody keeps: each goes with its block, and with the next one where its process was killed.

    .NAME-xxxxxxxx/ or ddgan-NAME-xxxxxxxx/    beside what it is for
        ddgan-deploy-scratch                   the mark, locked for as long as the process lives
        content/                               what is worked in
        replaced/                              what gives way to the content, see `set_aside`

A process that ends in any way loses its locks, so a folder whose mark can be locked is dead. The mark also names the
kernel that the lock was taken on: another one's locks need not be seen here, on a network's file system or after a
restart. Where there are no locks there is no mark, and what is left behind stays.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_MARK, _CONTENT, _REPLACED = "ddgan-deploy-scratch", "content", "replaced"
_NAME, _OLD = "name", "folder-old"
_NAMES = re.compile(r"(\..*|ddgan-.+)-[a-z0-9_]{8}", re.DOTALL)
"""As `tempfile` makes them of our prefixes."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextlib.contextmanager
def scratch_folder(prefix: str, parent: Path | None = None, clean: bool = True) -> Iterator[Path]:
    """An empty folder of its own.

    Args:
        prefix: of its name, begins with "." or "ddgan-" and ends with "-".
        parent: where; None: where temporary files go.
        clean: whether those that killed processes of ours left there go first.

    Raises:
        OSError: it cannot be made.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    if clean:
        remove_dead(parent)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        with _marked(folder):
            content = folder / _CONTENT
            content.mkdir()
            yield content
    finally:
        _end(folder)


def set_aside(content: Path, target: Path) -> None:
    """Moves a folder out of the way of a scratch folder's content, which takes its place.

    Where that does not come to be, the folder comes back as the scratch folder goes; else it goes with it.

    Args:
        content: beside whose scratch folder the target is.
        target: what gives way.

    Raises:
        OSError: it cannot be moved.
    """
    replaced = content.with_name(_REPLACED)
    replaced.mkdir()
    (replaced / _NAME).write_bytes(os.fsencode(target.name))
    target.rename(replaced / _OLD)


def remove_dead(parent: Path) -> None:
    """Removes the scratch folders of processes that were killed; what cannot be removed stays."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for name in [entry.name for entry in entries if _NAMES.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                if _is_dead(parent / name):
                    _end(parent / name)


@contextlib.contextmanager
def _marked(folder: Path) -> Iterator[None]:
    with (folder / _MARK).open("xb") as mark:
        # Written only once it is locked: an empty mark is none.
        with contextlib.suppress(OSError):
            if _locked(mark.fileno()):
                mark.write(_kernel())
                mark.flush()
        yield


def _is_dead(folder: Path) -> bool:
    """Whether a folder is a scratch folder of this user, made under this kernel by a process that has ended."""
    status = folder.lstat()
    if status.st_uid != os.geteuid() or not os.path.isdir(folder) or folder.is_symlink():
        return False
    # For writing, without which a network's file system gives no lock.
    with (folder / _MARK).open("r+b") as mark:
        return bool(kernel := _kernel()) and mark.read() == kernel and _locked(mark.fileno())


def _locked(file: int) -> bool:
    """Locks a file for as long as it is open here; False where another process has it locked."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _kernel() -> bytes:
    try:
        return _BOOT.read_bytes()
    except OSError:
        return b""


def _end(folder: Path) -> None:
    """Removes a scratch folder, unless it holds what it cannot bring back."""
    content, old = folder / _CONTENT, folder / _REPLACED / _OLD
    # Once the content has gone it is in the place of what gave way.
    if content.exists() and os.path.lexists(old):
        try:
            old.rename(folder.parent / os.fsdecode((folder / _REPLACED / _NAME).read_bytes()))
        except OSError:
            return
    # The mark goes last, so that what is left of an interrupted removal is known.
    for part in (content, folder / _REPLACED, folder):
        shutil.rmtree(part, ignore_errors=True)
