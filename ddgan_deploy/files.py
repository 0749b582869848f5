"""Output that appears whole or not at all, and what identifies a file."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ddgan_deploy.errors import InputError
from ddgan_deploy.scratch import remove_dead, scratch_folder, set_aside

_NAME_LENGTH = 40
"""Characters of a temporary name that tell whose it is: at most four bytes each, of the 255 that a name may have."""


@contextlib.contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A temporary file that becomes ``target`` when the block ends without an error.

    Raises:
        InputError: the target cannot be written.
    """
    try:
        with created_parents(target):
            _remove_dead_once(target.parent.absolute())
            with scratch_folder(_prefix(target), target.parent, clean=False) as folder:
                temporary = folder / f"file{target.suffix[:_NAME_LENGTH]}"
                temporary.touch()
                yield temporary
                temporary.chmod(0o666 & ~current_umask())
                temporary.replace(target)
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror or error}): choose another place") from None


@contextlib.contextmanager
def folder_written_whole(target: Path) -> Iterator[Path]:
    """A temporary folder that takes the target's place when the block ends without an error.

    Raises:
        InputError: the target cannot be written.
    """
    # A folder cannot be renamed by a name such as "..".
    target = target.absolute()
    try:
        with temporary_folder(target) as temporary:
            yield temporary
            replace_folder(temporary, target)
    except OSError as error:
        raise InputError(
            f"{target} cannot be written ({error.strerror or error}): free space or choose another place"
        ) from None


@contextlib.contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target, for `replace_folder`; where that did not take it, it goes with the block.

    Raises:
        OSError: it cannot be made.
    """
    with created_parents(target), scratch_folder(_prefix(target), target.parent) as temporary:
        yield temporary


def replace_folder(folder: Path, target: Path) -> None:
    """Renames a `temporary_folder` to ``target``, which may exist and is then always either the old or the new one."""
    folder.chmod(0o777 & ~current_umask())
    if target.exists() or target.is_symlink():
        set_aside(folder, target)
    folder.rename(target)


@functools.cache
def _remove_dead_once(parent: Path) -> None:
    """For single files, of which there may be thousands in a folder."""
    remove_dead(parent)


def _prefix(target: Path) -> str:
    return f".{target.name[:_NAME_LENGTH]}-"


@contextlib.contextmanager
def created_parents(target: Path) -> Iterator[None]:
    """The folders that lead to the target; those that were not there go again if the block fails.

    Raises:
        OSError: a folder cannot be made.
    """
    missing = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for parent in missing:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def current_umask() -> int:
    """The process's file mode mask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
