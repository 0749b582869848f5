"""Folders that the server's python backend leaves behind where it is ended by force.

It makes one as it is loaded, ``/tmp/python_env_xxxxxx`` whatever TMPDIR says, for packed environments, which our models
have none of, and removes it only at an end of its own. Its name tells nothing of whose it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_FOLDERS = Path("/tmp")
_NAMES = "python_env_??????"
_BACKEND = b"/libtriton_python.so"


@contextlib.contextmanager
def environment_folders_removed() -> Iterator[None]:
    """Around the whole life of one server; its folder goes with the block, if it is empty.

    Where another server has loaded its python backend meanwhile, and still runs, none goes: it might be that one's.
    """
    others, before = _servers(), _folders()
    try:
        yield
    finally:
        left = _folders() - before
        if left and not _servers() - others:
            for folder in left:
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _folders() -> set[Path]:
    """Those of this user that there are."""
    found = set()
    for folder in _FOLDERS.glob(_NAMES):
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.geteuid():
                found.add(folder)
    return found


def _servers() -> set[str]:
    """Ids of processes that have loaded the python backend."""
    found = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            if _BACKEND in maps.read_bytes():
                found.add(maps.parent.name)
    return found
