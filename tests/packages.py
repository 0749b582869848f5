"""Packages in other versions than the environment's, or that it does not have, in folders of their own.

A folder is made once, under ``build/packages``, by the pip that made the environment, and named after what is in it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
_FOLDERS = ROOT / "build" / "packages"


def packages(*requirements: str) -> Path:
    """A folder with exactly these, and not what they ask for; goes before the environment's own (`python_with`).

    Args:
        requirements: such as ``numpy==1.26.4``.
    """
    folder = _FOLDERS / "-".join([*sorted(requirements), sys.implementation.cache_tag])
    if folder.is_dir():
        return folder
    _FOLDERS.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=_FOLDERS))
    try:
        options = ["--disable-pip-version-check", "--quiet", "--no-deps", "--only-binary=:all:"]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(made), *requirements]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        made.chmod(0o755)
        # Another worker may have been sooner.
        if not folder.is_dir():
            made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def python_with(folder: Path, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs this environment's Python where the folder's packages come first."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
    )
