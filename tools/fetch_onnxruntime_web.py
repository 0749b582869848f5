"""Puts the npm package of onnxruntime-web into build/, for the tests of the page that ddgan-export --web writes.

    python tools/fetch_onnxruntime_web.py [FOLDER]

What is there already is left as it is. What cannot be had is a notice.
"""

from __future__ import annotations

import sys
from pathlib import Path

from npm_packages import NpmPackage, fetch_package

from ddgan_deploy.errors import InputError
from ddgan_deploy.screen import note

WEB = NpmPackage(
    "onnxruntime-web",
    "1.30.0",
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
)


def main(folder: Path) -> None:
    """Fetches the package into the folder, or says why not."""
    try:
        fetch_package(WEB, folder)
    except InputError as error:
        note(f"notice: {WEB.name} was not fetched ({error}): the tests of --web in a browser are skipped")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "build")
