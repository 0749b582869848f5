"""Puts the npm package of onnxruntime-web into build/, for the tests of the page that ddgan-export --web writes.

    python tools/fetch_onnxruntime_web.py [FOLDER]

Lets npm take it where there is one, which knows proxies and passwords; else asks the registry that npm would ask. What
is there already is left as it is. Where it cannot be had this says so and succeeds: those tests are then skipped.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""As the registry tells it (`npm view onnxruntime-web@VERSION dist.integrity`)."""
ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"


def main(folder: Path) -> None:
    """Fetches the package into the folder, or says why not."""
    target = folder / ARCHIVE
    if target.is_file() and is_right(target.read_bytes()):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        try:
            content = packed_by_npm(Path(name)) or taken_from(registry())
        except (OSError, http.client.HTTPException, ValueError) as error:
            tell(str(error))
            return
        if not is_right(content):
            tell("what came is not what was published")
            return
        whole = Path(name) / "whole"
        whole.write_bytes(content)
        whole.replace(target)


def is_right(content: bytes) -> bool:
    """Whether it is the archive that was published."""
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}" == INTEGRITY


def packed_by_npm(folder: Path) -> bytes | None:
    """What npm fetches; None where there is no npm, or it fails."""
    command = ["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}", "--pack-destination", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
        return (folder / ARCHIVE).read_bytes()
    except (OSError, subprocess.CalledProcessError):
        return None


def registry() -> str:
    """The address that npm would ask."""
    settings = Path("~/.npmrc").expanduser()
    text = settings.read_text(encoding="utf-8") if settings.is_file() else ""
    found = re.search(r"^registry\s*=\s*(\S+)", text, re.M)
    told = os.environ.get("npm_config_registry")  # noqa: SIM112, npm's own name for it
    return (told or (found[1] if found else "https://registry.npmjs.org")).rstrip("/")


def taken_from(address: str) -> bytes:
    """What the registry has."""
    with urllib.request.urlopen(f"{address}/{PACKAGE}/-/{ARCHIVE}", timeout=60) as answer:
        return bytes(answer.read())


def tell(reason: str) -> None:
    """Says that it is not there."""
    print(f"notice: {PACKAGE} {VERSION} was not fetched ({reason}): the tests of --web in a browser are skipped")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "build")
