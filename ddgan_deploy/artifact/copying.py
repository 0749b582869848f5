"""What lies in an artifact's folder beside what is made anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ddgan_deploy.errors import InputError


def copy_others(source: Path, target: Path, ours: Callable[[str], bool]) -> None:
    """Copies a folder's files and folders into another; links stay links.

    Args:
        source: the folder.
        target: an existing folder.
        ours: tells by name what is left out.

    Raises:
        InputError: something is neither a file, a folder nor a link.
    """
    for entry in source.iterdir():
        if ours(entry.name):
            continue
        copy = target / entry.name
        if entry.is_symlink():
            copy.symlink_to(entry.readlink())
        elif entry.is_dir():
            shutil.copytree(entry, copy, symlinks=True)
        elif entry.is_file():
            shutil.copy2(entry, copy)
        else:
            raise InputError(f"{entry} is neither a file nor a folder: move it elsewhere")
