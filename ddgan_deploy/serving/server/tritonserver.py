"""Where Triton Inference Server is on this machine: on PATH, or inside the nvidia-pytriton package.

NVIDIA publishes the server as a container image, where it is on PATH. The package nvidia-pytriton has the same program
with the python backend alone; it need not be installed, only unpacked (`ddgan_deploy.serving.fetch`).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ddgan_deploy.errors import InputError
from ddgan_deploy.scratch import scratch_folder
from ddgan_deploy.serving.installed import FETCH, PYTHON, find_libpython, server_folder

NAME = "tritonserver"
_STUB = "triton_python_backend_stub"
_HELP_SECONDS = 10.0


@dataclass(frozen=True)
class TritonServer:
    """A server that can be started.

    Attributes:
        command: the program.
        options: that it needs to find its own parts.
        environment: what it needs there, beside ours.
        search_path: folders for LD_LIBRARY_PATH.
    """

    command: Path
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    search_path: tuple[Path, ...] = ()

    def knows(self, option: str) -> bool:
        """Whether its help names an option such as ``--http-port``; False where it does not run."""
        return option in _known_options(self.command, self.search_path)

    def whole_environment(self, *libraries: Path) -> dict[str, str]:
        """Ours with the server's, and further folders of libraries."""
        inherited = os.environ.get("LD_LIBRARY_PATH", "")
        path = [str(folder) for folder in (*self.search_path, *libraries)] + ([inherited] if inherited else [])
        return {
            **os.environ,
            **self.environment,
            # Else the python backend writes into the model repository.
            "PYTHONDONTWRITEBYTECODE": "1",
            **({"LD_LIBRARY_PATH": os.pathsep.join(path)} if path else {}),
        }


@functools.cache
def _known_options(command: Path, search_path: tuple[Path, ...]) -> frozenset[str]:
    """The options in the help of a server."""
    environment = TritonServer(command, search_path=search_path).whole_environment()
    try:
        # The exit code says nothing: 2.51 ends with 1.
        done = subprocess.run(
            [command, "--help"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_HELP_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return frozenset()
    return frozenset(re.findall(r"^\s*(--[a-z0-9-]+)", done.stdout.decode(errors="replace"), re.MULTILINE))


@contextlib.contextmanager
def found_server() -> Iterator[TritonServer]:
    """The server of this machine, for as long as the block runs.

    Raises:
        InputError: there is none, or none for this Python.
    """
    on_path = shutil.which(NAME)
    if on_path:
        yield TritonServer(Path(on_path))
        return
    package = _package()
    parts, library = _python_backend(package)
    with temporary_links("ddgan-backends-", {f"python/{part.name}": part for part in parts}) as backends:
        yield _from_package(package, backends, library)


@contextlib.contextmanager
def temporary_links(prefix: str, links: Mapping[str, Path]) -> Iterator[Path]:
    """A temporary folder for as long as the block runs, with symbolic links at these places in it.

    Raises:
        InputError: no temporary folder can be written.
    """
    with contextlib.ExitStack() as end:
        try:
            folder = end.enter_context(scratch_folder(prefix))
            for place, target in links.items():
                (folder / place).parent.mkdir(exist_ok=True)
                (folder / place).symlink_to(target)
        except OSError as error:
            raise InputError(
                f"temporary files cannot be written ({error.strerror}): make /tmp writable, "
                "or set TMPDIR to a folder that is"
            ) from None
        yield folder


def _package() -> Path:
    """The folder that the package nvidia-pytriton was installed or unpacked into."""
    spec = importlib.util.find_spec("pytriton")
    installed = [Path(spec.origin).parent.parent] if spec is not None and spec.origin else []
    for folder in (*installed, server_folder()):
        if (folder / "pytriton" / NAME / "bin" / NAME).is_file():
            return folder
    no_program = shutil.which(NAME, mode=os.F_OK)
    if no_program:
        raise InputError(f"{no_program} is not executable: chmod +x it, or get another server with {FETCH}")
    raise InputError(f"there is no {NAME} on PATH: run in NVIDIA's container image, or get one with {FETCH}")


def _python_backend(package: Path) -> tuple[list[Path], Path]:
    """The files of the python backend for this Python, and the shared library of this Python."""
    root = package / "pytriton" / NAME
    stub = root / "python_backend_stubs" / PYTHON / _STUB
    if not stub.is_file():
        raise InputError(
            f"{package} has no python backend for Python {PYTHON}: use a Python of "
            f"{', '.join(sorted(path.name for path in stub.parent.parent.iterdir()))}, or NVIDIA's container image"
        )
    library = find_libpython(package)
    if library is None:
        raise InputError(f"the server's python backend needs libpython{PYTHON}.so.1.0: get it with {FETCH}")
    return [*(root / "backends" / "python").iterdir(), stub], library


def _from_package(package: Path, backends: Path, library: Path) -> TritonServer:
    """The package's server, with the python backend that was put together in the folder ``backends``."""
    root = package / "pytriton" / NAME
    return TritonServer(
        command=root / "bin" / NAME,
        options=(f"--backend-directory={backends}", f"--cache-directory={root / 'caches'}"),
        # The backend's Python finds the packages of the first python3 on PATH.
        environment={"PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))},
        search_path=(package / "nvidia_pytriton.libs", library.parent),
    )
