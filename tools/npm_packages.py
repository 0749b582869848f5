"""Packages of the npm registry as archives, each of one version and held to the digest that was published.

npm takes them where there is one, which knows proxies and passwords; else they come from the registry that npm would
ask.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import re
import subprocess
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from ddgan_deploy.errors import InputError


@dataclass(frozen=True)
class NpmPackage:
    """A package of one version.

    Attributes:
        name: with its scope, as ``@scope/name``, where it has one.
        integrity: as the registry tells it (`npm view NAME@VERSION dist.integrity`).
    """

    name: str
    version: str
    integrity: str

    @property
    def archive(self) -> str:
        """The file's name, as `npm pack` gives it."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    def is_right(self, content: bytes) -> bool:
        """Whether it is the archive that was published."""
        return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}" == self.integrity


def fetch_package(package: NpmPackage, folder: Path) -> Path:
    """The package's archive in the folder; what is there already is left as it is.

    Raises:
        InputError: it cannot be had.
    """
    target = folder / package.archive
    if target.is_file() and package.is_right(target.read_bytes()):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        try:
            content = _packed_by_npm(package, Path(name)) or _taken_from(_registry(), package)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise InputError(str(error)) from None
        if not package.is_right(content):
            raise InputError("what came is not what was published")
        whole = Path(name) / "whole"
        whole.write_bytes(content)
        whole.replace(target)
    return target


def _packed_by_npm(package: NpmPackage, folder: Path) -> bytes | None:
    """What npm fetches; None where there is no npm, or it fails."""
    # Without a network npm would try again for minutes.
    command = ["npm", "pack", "--silent", "--fetch-retries=0", f"{package.name}@{package.version}"]
    command += ["--pack-destination", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
        return (folder / package.archive).read_bytes()
    except (OSError, subprocess.CalledProcessError):
        return None


def _registry() -> str:
    """The address that npm would ask."""
    settings = Path("~/.npmrc").expanduser()
    text = settings.read_text(encoding="utf-8") if settings.is_file() else ""
    found = re.search(r"^registry\s*=\s*(\S+)", text, re.M)
    told = os.environ.get("npm_config_registry")  # noqa: SIM112, npm's own name for it
    return (told or (found[1] if found else "https://registry.npmjs.org")).rstrip("/")


def _taken_from(registry: str, package: NpmPackage) -> bytes:
    """What the registry has; it names files without their scope."""
    file = f"{package.name.rpartition('/')[2]}-{package.version}.tgz"
    with urllib.request.urlopen(f"{registry}/{package.name}/-/{file}", timeout=60) as answer:
        return bytes(answer.read())
