"""The home of an unpacked bundle: what came, what is whole, what is installed. Standard library alone.

    bundle.json   the contents of the bundle that it belongs to, as its pieces have them
    parts/        bytes that came and wait for the rest of their item, named by their SHA-256
    done/         NAME.json for each item that is installed: the archive's SHA-256 and its files
    src/, site/   our sources, and the packages

Every step can be cut short anywhere, and is then done again by the next call.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from archives import unpack_archive
from pieces import BundleError, Contents, Item, Piece, read_contents

BUNDLE = "bundle.json"
_BEGUN = {"parts", "done", "scratch", "lock"}
"""What a home has that was cut short before it had contents."""


class Home:
    """A folder that takes pieces.

    Raises:
        BundleError: the folder has something else in it, or another process is at work there.
        OSError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        if ":" in str(self.folder) or "\n" in str(self.folder):
            raise BundleError(f"{self.folder} cannot be on PYTHONPATH because of its name: choose another --home")
        bundle = self.folder / BUNDLE
        if self.folder.exists() and not self.folder.is_dir():
            raise BundleError(f"{folder} is not a folder: choose another --home")
        if self.folder.is_dir() and not bundle.exists() and {path.name for path in self.folder.iterdir()} - _BEGUN:
            raise BundleError(f"{folder} has something else in it: choose another --home")
        for name in ("parts", "done", "scratch"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.contents: Contents | None = None
        if bundle.exists():
            try:
                self.contents = read_contents(bundle.read_text(encoding="utf-8"))
            except BundleError as error:
                raise BundleError(f"{bundle} {error}: choose another --home") from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """No other process unpacks into the home during the block.

        Raises:
            BundleError: one does.
        """
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise BundleError(f"{self.folder} is being unpacked into by another process: wait for it") from None
            yield

    def belong_to(self, contents: Contents) -> None:
        """Makes it the home of this bundle; what is installed and not the same in it goes."""
        if self.contents is not None and self.contents.identifier == contents.identifier:
            return
        wanted = {item.name: item for item in contents.items}
        for record in sorted((self.folder / "done").glob("*.json")):
            done = json.loads(record.read_text(encoding="utf-8"))
            item = wanted.get(record.name.removesuffix(".json"))
            if item is None or (item.sha256, item.into) != (done["sha256"], done["into"]):
                self._remove(self.folder / done["into"], done["files"])
                record.unlink()
        self._write(self.folder / BUNDLE, contents.line)
        self.contents = contents
        self._sweep()

    def take(self, piece: Piece) -> None:
        """Keeps the parts of a piece that are still needed.

        Raises:
            BundleError: a part is damaged; the parts before it are kept.
            OSError: the piece cannot be read, or the disk is full.
        """
        needed = self._needed()
        for part, blocks in piece.parts():
            kept = self.folder / "parts" / part.sha256
            if part.sha256 not in needed or kept.exists():
                continue
            partial, found = self.folder / "scratch" / "part", hashlib.sha256()
            with partial.open("wb") as file:
                for block in blocks:
                    found.update(block)
                    file.write(block)
            if found.hexdigest() != part.sha256:
                raise BundleError(f"{piece.path} is damaged: bring it again")
            partial.replace(kept)

    def install(self) -> list[str]:
        """Installs every item that is whole and not there yet.

        Returns:
            A line for each whose archive is not what a bundle has.

        Raises:
            OSError: the disk is full.
        """
        errors = []
        for item in self._items():
            if not self.is_done(item) and self.parts_there(item) == len(item.parts):
                try:
                    self._install(item)
                except BundleError as error:
                    errors.append(str(error))
        self._sweep()
        return errors

    def is_done(self, item: Item) -> bool:
        """Whether an item of the home's bundle is installed."""
        return self._record(item).exists()

    def parts_there(self, item: Item) -> int:
        """How many parts of an item have come that is not installed yet."""
        return sum((self.folder / "parts" / part.sha256).exists() for part in item.parts)

    def _install(self, item: Item) -> None:
        parts = [self.folder / "parts" / part.sha256 for part in item.parts]
        archive, found = self.folder / "scratch" / "archive", hashlib.sha256()
        with archive.open("wb") as whole:
            for part in parts:
                with part.open("rb") as file:
                    while block := file.read(1 << 20):
                        found.update(block)
                        whole.write(block)
        if found.hexdigest() != item.sha256:
            # The machine may have lost power before the parts were on its disk.
            for part in parts:
                part.unlink(missing_ok=True)
            raise BundleError(f"{item.name} does not fit together: bring its pieces again")
        folder = self.folder / item.into
        try:
            if folder.resolve() != self.folder.resolve() / item.into:
                raise BundleError(f"is to go to {item.into}, which is a link")
            files = unpack_archive(archive, folder, self.folder / "scratch")
        except BundleError as error:
            message = str(error)
            raise BundleError(
                f"{item.name} {message}" + ("" if ": " in message else ": make the bundle anew")
            ) from None
        archive.unlink()
        record = {"sha256": item.sha256, "into": item.into, "files": files}
        self._write(self._record(item), json.dumps(record))

    def _items(self) -> tuple[Item, ...]:
        return self.contents.items if self.contents else ()

    def _record(self, item: Item) -> Path:
        return self.folder / "done" / f"{item.name}.json"

    def _needed(self) -> set[str]:
        """Parts of what is not installed."""
        return {part.sha256 for item in self._items() if not self.is_done(item) for part in item.parts}

    def _sweep(self) -> None:
        """Parts that nothing needs any more, and what was left half written."""
        needed = self._needed()
        for path in (self.folder / "parts").iterdir():
            if path.name not in needed:
                path.unlink()
        shutil.rmtree(self.folder / "scratch")
        (self.folder / "scratch").mkdir()

    def _write(self, path: Path, text: str) -> None:
        partial = self.folder / "scratch" / "text"
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)

    @staticmethod
    def _remove(folder: Path, files: list[str]) -> None:
        """Removes files, what Python made of them, and folders that are then empty."""
        folders = set()
        for name in files:
            path = folder / name
            path.unlink(missing_ok=True)
            folders.update(parent for parent in path.parents if folder in (parent, *parent.parents))
        for each in sorted(folders, key=lambda each: len(each.parts), reverse=True):
            shutil.rmtree(each / "__pycache__", ignore_errors=True)
            with contextlib.suppress(OSError):
                each.rmdir()
