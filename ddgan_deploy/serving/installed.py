"""What serving needs beside this package: tritonclient, programs that are unpacked beside the environment."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from ddgan_deploy.errors import InputError

FETCH = "python -m ddgan_deploy.serving.fetch"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_PERF_ANALYZER = "perf_analyzer"


@contextlib.contextmanager
def needs_tritonclient() -> Iterator[None]:
    """Around imports of tritonclient.

    Raises:
        InputError: it is not installed.
    """
    try:
        yield
    except (ImportError, RuntimeError):
        # A RuntimeError is how tritonclient says that it was installed without this protocol.
        raise InputError("the package tritonclient is missing: pip install 'ddgan-deploy[serving]'") from None


def server_folder() -> Path:
    """The unpacked package nvidia-pytriton."""
    return Path(sys.prefix) / "share" / "ddgan-deploy" / "tritonserver"


def perf_folder() -> Path:
    """The unpacked package perf-analyzer."""
    return Path(sys.prefix) / "share" / "ddgan-deploy" / "perf_analyzer"


def find_perf_analyzer() -> tuple[str, ...]:
    """The command that runs perf_analyzer: on PATH, else in this environment, else unpacked beside it.

    Raises:
        InputError: there is none.
    """
    for name in (_PERF_ANALYZER, str(Path(sys.executable).with_name(_PERF_ANALYZER))):
        path = shutil.which(name)
        if path:
            return (path,)
    command = unpacked_perf_analyzer(perf_folder())
    if not Path(command[-1]).is_file():
        raise InputError(f"there is no perf_analyzer on PATH: get one with {FETCH} --perf-analyzer")
    return command


def unpacked_perf_analyzer(folder: Path) -> tuple[str, ...]:
    """The command for a perf_analyzer that was unpacked into the folder.

    It goes through the loader of the Debian packages in ``debian13``, where those are there.
    """
    program = str(folder / "perf_analyzer" / "bin" / _PERF_ANALYZER)
    libraries = folder / "debian13" / "usr" / "lib" / "x86_64-linux-gnu"
    if not libraries.is_dir():
        return (program,)
    return (str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries), program)


def find_libpython(server: Path) -> Path | None:
    """The shared library of this Python, which the stub of the server's python backend loads; None where there is none.

    Args:
        server: the unpacked server, which may have it too.
    """
    name = f"libpython{PYTHON}.so.1.0"
    of_python = [Path(folder) / name for folder in sysconfig.get_config_vars("LIBDIR") if isinstance(folder, str)]
    # The package brings the library for the newest Python that it knows, under a name of its own.
    bundled = (server / "nvidia_pytriton.libs").glob(f"libpython3-*.{sys.version_info.minor}.so.1.0")
    unpacked = (server / "libpython").glob(f"usr/lib/*/{name}")
    candidates = [*bundled, *of_python, *_of_linker(name), *unpacked]
    return next((path for path in candidates if path.is_file()), None)


def _of_linker(name: str) -> list[Path]:
    """What the dynamic linker's cache knows under the name."""
    # Outside the PATH of an ordinary user on some systems.
    ldconfig = shutil.which("ldconfig") or shutil.which("ldconfig", path="/sbin:/usr/sbin")
    if ldconfig is None:
        return []
    lines = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False).stdout.splitlines()
    return [Path(line.split(" => ")[1]) for line in lines if line.strip().startswith(f"{name} ") and " => " in line]
