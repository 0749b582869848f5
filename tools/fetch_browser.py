"""Fetches a headless Chromium for the tests that look at our pages in one: python tools/fetch_browser.py [-- PIP_FLAGS]

    share/ddgan-deploy/browser/    of the environment
        chrome-headless-shell      out of the npm package @sparticuz/chromium, with its software renderer beside it
        chromedriver               of the same release, out of the Python package chromedriver-py
        lib/                       libraries that the machine may lack: both programs' NSS, and what chromedriver needs
        fonts/                     the one family that pages are drawn with, so that text is as wide everywhere

Nothing needs root's rights. What is there already is left as it is. What cannot be had is a notice.
"""

from __future__ import annotations

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from npm_packages import NpmPackage, fetch_package

from ddgan_deploy.errors import InputError
from ddgan_deploy.files import folder_written_whole
from ddgan_deploy.scratch import scratch_folder
from ddgan_deploy.screen import note, say
from ddgan_deploy.serving.fetch.debian import unpack_own
from ddgan_deploy.serving.fetch.wheels import Wheel, unpack_wheel

FOLDER = Path(sys.prefix) / "share" / "ddgan-deploy" / "browser"
BROWSER, DRIVER, STAMP = "chrome-headless-shell", "chromedriver", "fetched.txt"
# The two work together where they are of one release, the first number.
CHROMIUM = NpmPackage(
    "@sparticuz/chromium",
    "153.0.0",
    "sha512-jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==",
)
CHROMEDRIVER = Wheel(
    "chromedriver-py",
    "153.0.8010.52",
    "5c481f51b1fbb72bdaf3484c091d70b99328f5530828d01b2782039e2429cb71",
    "any",
    ("chromedriver_py/chromedriver_linux64",),
)
PARTS = {"swiftshader.tar.br": ".", "al2023.tar.br": "lib", "fonts.tar.br": "fonts"}
"""Archive in CHROMIUM -> where its files go."""
LIBRARIES = (
    # Debian 13 and Ubuntu 24.04 have renamed it; apt-get takes an expression.
    r"^libglib2\.0-0(t64)?$",
    "libatomic1",
    "libdbus-1-3",
    "libxcb1",
    "libxau6",
    "libxdmcp6",
    "libbsd0",
    "libmd0",
)
"""Packages with what chromedriver needs and a small Debian or Ubuntu lacks."""
FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">.</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""


def fetch_browser(pip_flags: Sequence[str]) -> Path:
    """The folder with both programs, which have run once.

    Raises:
        InputError: they cannot be had here.
    """
    stamp = f"{CHROMIUM.name} {CHROMIUM.version}, {CHROMEDRIVER.project} {CHROMEDRIVER.version}\n"
    if (FOLDER / STAMP).is_file() and (FOLDER / STAMP).read_text(encoding="utf-8") == stamp:
        return FOLDER
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise InputError(f"{CHROMIUM.name} {CHROMIUM.version} is made for Linux on x86-64 alone")
    with folder_written_whole(FOLDER) as folder:
        _add_browser(folder)
        _add_driver(folder, pip_flags)
        if not _runs(folder / DRIVER):
            _add_libraries(folder / "lib")
        for program in (folder / BROWSER, folder / DRIVER):
            if not _runs(program):
                raise InputError(f"{program.name} does not run on this machine")
        (folder / STAMP).write_text(stamp, encoding="utf-8")
    return FOLDER


def _add_browser(folder: Path) -> None:
    with scratch_folder("ddgan-chromium-") as scratch, tarfile.open(fetch_package(CHROMIUM, scratch)) as package:
        (folder / BROWSER).write_bytes(_expanded(_read(package, "package/bin/chromium.br")))
        (folder / BROWSER).chmod(0o755)
        for name, below in PARTS.items():
            (folder / below).mkdir(exist_ok=True)
            with tarfile.open(fileobj=io.BytesIO(_expanded(_read(package, f"package/bin/{name}")))) as archive:
                for file in [member.name for member in archive if member.isfile()]:
                    (folder / below / PurePosixPath(file).name).write_bytes(_read(archive, file))
    # The package's own names folders of the service that it is made for.
    (folder / "fonts" / "fonts.conf").write_text(FONTS, encoding="utf-8")


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def _expanded(content: bytes) -> bytes:
    try:
        import brotli
    except ImportError:
        raise InputError("the package brotli is missing: pip install 'ddgan-deploy[dev]'") from None
    return bytes(brotli.decompress(content))


def _add_driver(folder: Path, pip_flags: Sequence[str]) -> None:
    # It brings the drivers of other systems, too.
    with scratch_folder("ddgan-chromedriver-") as scratch:
        unpack_wheel(CHROMEDRIVER, scratch / "wheel", pip_flags)
        (program,) = CHROMEDRIVER.programs
        shutil.move(scratch / "wheel" / program, folder / DRIVER)


def _add_libraries(folder: Path) -> None:
    with scratch_folder("ddgan-libraries-") as scratch:
        try:
            unpack_own(LIBRARIES, scratch)
        except InputError as error:
            raise InputError(f"{DRIVER} needs libglib, libdbus and libxcb: {error}") from None
        # Below lib/ or usr/lib/, as the release has it.
        for path in scratch.glob("**/lib/x86_64-linux-gnu/*.so.*"):
            shutil.copy(path, folder / path.name)


def _runs(program: Path) -> bool:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(program.parent / "lib")}
    try:
        done = subprocess.run([program, "--version"], env=environment, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def main(pip_flags: Sequence[str]) -> None:
    """Fetches both, or says why not."""
    try:
        say(f"Chromium: {fetch_browser(pip_flags)}")
    except InputError as error:
        note(f"notice: Chromium was not fetched ({error}): tests in a browser take one on PATH, or are skipped")


if __name__ == "__main__":
    main([flag for flag in sys.argv[1:] if flag != "--"])
