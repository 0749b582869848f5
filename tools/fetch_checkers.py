"""Fetches what checks deploy/ and pip cannot put beside our packages: python tools/fetch_checkers.py [-- PIP_FLAGS]

- promtool, Prometheus' own checker, out of the package ``prometheus`` of Debian and its kin, into the environment's
  bin/.
- KServe's Python package, which states the fields of its custom resources, as a wheel that is only read: what it asks
  for contradicts constraints.txt.

What is there already is left as it is. What cannot be had is a notice.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ddgan_deploy.errors import InputError
from ddgan_deploy.files import folder_written_whole
from ddgan_deploy.scratch import scratch_folder
from ddgan_deploy.screen import note, say
from ddgan_deploy.serving.fetch.debian import unpack_own

PROMTOOL = Path(sys.prefix) / "bin" / "promtool"
KSERVE = Path(sys.prefix) / "share" / "ddgan-deploy" / "kserve"
CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"


def fetch_promtool() -> Path:
    """Prometheus' checker.

    Raises:
        InputError: apt has no such package.
    """
    if not PROMTOOL.exists():
        with scratch_folder("ddgan-prometheus-") as folder:
            unpack_own(["prometheus"], folder)
            # Under another name first, so that half a program never stands there.
            shutil.move(folder / "usr" / "bin" / "promtool", PROMTOOL.with_suffix(".new"))
            PROMTOOL.with_suffix(".new").rename(PROMTOOL)
    return PROMTOOL


def fetch_kserve(pip_flags: Sequence[str]) -> Path:
    """The folder with the wheel, of the version in constraints.txt.

    Raises:
        InputError: pip cannot take it.
    """
    (wanted,) = [line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if line.startswith("kserve==")]
    if not list(KSERVE.glob(f"{wanted.replace('==', '-')}-*.whl")):
        with folder_written_whole(KSERVE) as folder:
            command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps"]
            command += ["--only-binary=:all:", "--dest", str(folder), wanted, *pip_flags]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise InputError(done.stderr.strip().rpartition("\n")[2] or "pip gave no reason")
    return KSERVE


def main(pip_flags: Sequence[str]) -> None:
    """Fetches both."""
    for name, fetch in (("promtool", fetch_promtool), ("KServe's wheel", lambda: fetch_kserve(pip_flags))):
        try:
            say(f"{name}: {fetch()}")
        except InputError as error:
            note(f"notice: {name} was not fetched ({error}): the tests that need it are skipped")


if __name__ == "__main__":
    main([flag for flag in sys.argv[1:] if flag != "--"])
