"""An artifact's folder in the making: it exists whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ddgan_deploy.artifact.manifest import MANIFEST, SAMPLER, SERVED, WEIGHTS
from ddgan_deploy.errors import InputError
from ddgan_deploy.files import replace_folder, temporary_folder


@dataclass(frozen=True)
class FolderKind:
    """What a folder is to be.

    Attributes:
        name: with its article.
        recognized: whether there is such a folder, damaged as it may be since.
    """

    name: str
    recognized: Callable[[Path], bool]


def _is_artifact(folder: Path) -> bool:
    """Whether ddgan-export wrote the folder; others write a manifest.json too."""
    return (folder / MANIFEST).is_file() and any((folder / name).exists() for name in (SAMPLER, SERVED, WEIGHTS))


ARTIFACT = FolderKind("an artifact", _is_artifact)


class Staging:
    """A folder in the making; see `staged`."""

    def __init__(self, path: Path, target: Path, overwrite: bool) -> None:
        self.path = path
        self.target = target
        self.overwrite = overwrite

    def keep_as(self, target: Path) -> None:
        """Puts the folder under another name than it was meant for, in place of an older artifact."""
        self.target = target
        self.overwrite = True


@contextlib.contextmanager
def staged(target: Path, overwrite: bool, kind: FolderKind = ARTIFACT) -> Iterator[Staging]:
    """A temporary folder that becomes ``target`` when the block ends without an error.

    The target exists whole or not at all; with an error nothing is left behind and
    an older target stays as it was.

    Args:
        target: the folder to make.
        overwrite: whether it may be there already.
        kind: what it then has to be.

    Raises:
        InputError: the target exists and may not be replaced, or cannot be written.
    """
    if target.name in ("", ".."):
        # A folder cannot be renamed by these names.
        target = Path(os.path.abspath(target))
    check_target(target, overwrite, kind)
    try:
        with temporary_folder(target) as temporary:
            staging = Staging(temporary, target, overwrite)
            yield staging
            # Once more, since the target may have come to be meanwhile.
            check_target(staging.target, staging.overwrite, kind)
            replace_folder(temporary, staging.target)
    except OSError as error:
        raise InputError(
            f"{target} cannot be written ({error.strerror or error}): free space or choose another --out"
        ) from None


def check_target(target: Path, overwrite: bool, kind: FolderKind = ARTIFACT) -> None:
    """Refuses a target folder that may not be written, before any work is done.

    Raises:
        InputError: it exists and ``overwrite`` is not given, or is no folder of its kind.
    """
    try:
        if not target.exists() and not target.is_symlink():
            return
        replaceable = target.is_dir() and (kind.recognized(target) or not any(target.iterdir()))
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}): choose another --out") from None
    if not overwrite:
        raise InputError(f"{target} exists already: give --overwrite to replace it, or another --out")
    if not replaceable:
        raise InputError(f"{target} is not {kind.name}, so --overwrite will not replace it: give another --out")
    if target.is_symlink():
        raise InputError(f"{target} is a symbolic link: give the folder it points to")
