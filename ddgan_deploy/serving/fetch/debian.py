"""Packages of Debian and its kin as an ordinary user: apt fetches and verifies them, nothing is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from ddgan_deploy.errors import InputError
from ddgan_deploy.scratch import scratch_folder

DEBIAN_13 = "trixie"
_APT = Path("/etc/apt")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MIRROR = re.compile(r"/debian(\.list)?/?$")
# What the machine's administrator wants of apt, but for what is meant for the machine's own packages.
_SETTINGS = """\
#clear APT::Default-Release;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::State "{root}/state";
Dir::Cache "{root}/cache";
"""
_OTHER_RELEASE = """\
APT::Architecture "amd64";
#clear APT::Architectures;
Dir::State::status "{root}/status";
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"""


def unpack_own(packages: Sequence[str], folder: Path) -> None:
    """Unpacks packages of this machine's own release into the folder.

    Raises:
        InputError: they cannot be had.
    """
    with _apt_root() as root:
        try:
            # With the package lists that are there already, where they are.
            archives = _download(packages, root, [])
        except InputError:
            archives = _download(packages, root, _with_lists(root, _SETTINGS))
        _unpack(archives, folder)


def unpack_debian_13(packages: Sequence[str], folder: Path) -> None:
    """Unpacks packages of Debian 13 for amd64 into the folder, from the Debian mirrors that this machine uses.

    Raises:
        InputError: they cannot be had.
    """
    with _apt_root() as root:
        mirrors = debian_mirrors()
        if not mirrors:
            raise InputError("this machine has no mirror of Debian in its apt sources")
        signed_by = f"[signed-by={_KEYRING}] " if _KEYRING.is_file() else ""
        sources = [f"deb {signed_by}{mirror} {DEBIAN_13} main\n" for mirror in mirrors]
        (root / "sources.list").write_text("".join(sources))
        (root / "status").touch()
        _unpack(_download(packages, root, _with_lists(root, _SETTINGS + _OTHER_RELEASE)), folder)


def debian_mirrors(apt: Path = _APT) -> list[str]:
    """Every mirror of Debian in the machine's apt sources, which have two formats."""
    found = []
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        for addresses in re.findall(r"^URIs:[ \t]*(.+)$", path.read_text(errors="replace"), re.MULTILINE):
            found += addresses.split()
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]:
        if path.is_file():
            text = path.read_text(errors="replace")
            found += re.findall(r"^deb[ \t]+(?:\[[^\]]*\][ \t]+)?(\S+)", text, re.MULTILINE)
    return list(dict.fromkeys(address for address in found if _MIRROR.search(address)))


def _apt_root() -> AbstractContextManager[Path]:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise InputError("this machine has no apt-get and dpkg-deb")
    return scratch_folder("ddgan-apt-")


def _with_lists(root: Path, settings: str) -> list[str]:
    """Fetches package lists into the root; gives the options with which apt-get uses them."""
    config = root / "apt.conf"
    config.write_text(settings.format(root=root))
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    options = ["-c", str(config)]
    # One source of several may fail; whether that matters, the download shows.
    subprocess.run(["apt-get", *options, "-qq", "update"], capture_output=True, check=False)
    return options


def _download(packages: Sequence[str], root: Path, options: list[str]) -> list[Path]:
    archives = root / "archives"
    archives.mkdir(exist_ok=True)
    command = ["apt-get", *options, "-qq", "download", *packages]
    done = subprocess.run(command, cwd=archives, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise InputError(f"apt-get has no {' '.join(packages)} ({reasons[0][2:].strip() if reasons else 'no reason'})")
    return sorted(archives.glob("*.deb"))


def _unpack(archives: Sequence[Path], folder: Path) -> None:
    for archive in archives:
        done = subprocess.run(["dpkg-deb", "-x", archive, folder], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise InputError(f"{archive.name} cannot be unpacked ({done.stderr.strip()})")
