"""Finding a server: on PATH, in the installed package, in the unpacked one."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.serving.server import tritonserver
from ddgan_deploy.serving.server.tritonserver import TritonServer, found_server, temporary_links

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def _package(folder: Path, *pythons: str) -> Path:
    """The parts of nvidia-pytriton that matter."""
    root = folder / "pytriton" / "tritonserver"
    names = [
        "bin/tritonserver",
        "backends/python/libtriton_python.so",
        "backends/python/triton_python_backend_utils.py",
        "caches/local/libtritoncache_local.so",
        *(f"python_backend_stubs/{python}/triton_python_backend_stub" for python in pythons),
    ]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
        (root / name).chmod(0o755)
    return folder


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch, tmp_path):
    """A machine without any server."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(tritonserver, "server_folder", lambda: tmp_path / "unpacked")
    monkeypatch.setattr(tritonserver.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(tritonserver, "find_libpython", lambda package: tmp_path / "libraries" / "libpython.so")


def test_the_one_on_path_comes_first(tmp_path):
    _package(tmp_path / "unpacked", PYTHON)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "tritonserver"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with found_server() as server:
        assert server == TritonServer(program)


def test_the_unpacked_one_gets_a_backend_for_this_python(tmp_path):
    package = _package(tmp_path / "unpacked", "3.8", PYTHON)
    with found_server() as server:
        root = package / "pytriton" / "tritonserver"
        assert server.command == root / "bin" / "tritonserver"
        backends = Path(server.options[0].removeprefix("--backend-directory="))
        assert server.options[1:] == (f"--cache-directory={root / 'caches'}",)
        parts = {path.name: path.read_text() for path in (backends / "python").iterdir()}
        assert parts["triton_python_backend_stub"] == f"python_backend_stubs/{PYTHON}/triton_python_backend_stub"
        assert parts.keys() == {"libtriton_python.so", "triton_python_backend_utils.py", "triton_python_backend_stub"}
        environment = server.whole_environment(Path("/models/ddgan"))
    assert not backends.exists()
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert environment["LD_LIBRARY_PATH"].split(os.pathsep)[:3] == [
        str(package / "nvidia_pytriton.libs"),
        str(tmp_path / "libraries"),
        "/models/ddgan",
    ]


def test_an_installed_package_comes_before_the_unpacked_one(tmp_path, monkeypatch):
    installed = _package(tmp_path / "site-packages", PYTHON)
    _package(tmp_path / "unpacked", PYTHON)
    spec = ModuleSpec("pytriton", None, origin=str(installed / "pytriton" / "__init__.py"))
    monkeypatch.setattr(tritonserver.importlib.util, "find_spec", lambda name: spec)
    with found_server() as server:
        assert server.command.is_relative_to(installed)


def test_no_server(tmp_path):
    with pytest.raises(InputError, match="there is no tritonserver on PATH: .* python -m ddgan_deploy.serving.fetch"):
        found_server().__enter__()


def test_one_on_path_that_is_not_executable(tmp_path):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "tritonserver"
    program.touch(0o644)
    with pytest.raises(InputError, match=rf"{program} is not executable: chmod \+x it, or get another server with"):
        found_server().__enter__()
    _package(tmp_path / "unpacked", PYTHON)
    with found_server() as server:
        assert server.command.is_relative_to(tmp_path / "unpacked")


def test_no_shared_library_of_this_python(tmp_path, monkeypatch):
    _package(tmp_path / "unpacked", PYTHON)
    monkeypatch.setattr(tritonserver, "find_libpython", lambda package: None)
    with pytest.raises(InputError, match=rf"needs libpython{PYTHON}\.so\.1\.0: get it with"):
        found_server().__enter__()


def test_no_backend_for_this_python(tmp_path):
    _package(tmp_path / "unpacked", "3.8", "3.9")
    with pytest.raises(InputError, match=rf"no python backend for Python {PYTHON}: use a Python of 3\.8, 3\.9"):
        found_server().__enter__()


def test_no_folder_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    says = r"^temporary files cannot be written \(No such file or directory\): make /tmp writable, or set TMPDIR to"
    with pytest.raises(InputError, match=says), temporary_links("ddgan-", {}):
        pytest.fail("it was made")


def test_the_options_of_a_server_are_those_of_its_help(tmp_path):
    program = tmp_path / "tritonserver"
    program.write_text(
        "#!/bin/sh\n[ \"$*\" = --help ] && printf 'Usage\\n  --one <integer>\\n\\tas --two\\n  --three\\n'\nexit 1"
    )
    program.chmod(0o755)
    server = TritonServer(program)
    assert server.knows("--one") and server.knows("--three")
    assert not server.knows("--two") and not server.knows("--on")
    assert not TritonServer(tmp_path / "none").knows("--one")
