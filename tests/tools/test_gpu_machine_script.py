"""What gpu_machine.sh hands on, the variables it sets, and the versions that its table finds too old."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from pathlib import Path

import inventory
import pytest
import unpack

ROOT = Path(__file__).parents[2]


def shell(*arguments: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DDGAN_GPU_HOME"} | variables
    command = ["sh", ROOT / "tools" / "gpu_machine.sh", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("command", [["test"], ["measure", "--list"], [], ["fly"]])
def test_without_a_home_it_says_so(tmp_path, command):
    done = shell(*command, cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


@pytest.fixture
def small_home(tmp_path) -> Path:
    """A home whose run.py prints what it was given."""
    home = tmp_path / "a home's"
    script = home / "src" / "tools" / "gpu_machine" / "run.py"
    script.parent.mkdir(parents=True)
    script.write_text("import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))")
    (home / "lib").mkdir()
    (home / "lib" / "libddgan_onnxruntime.so").touch()
    (home / "scratch").mkdir()
    unpack.write_environment(home)
    return home


@pytest.mark.parametrize("place", ["variable", "default"])
def test_the_homes_own_run_gets_its_paths(small_home, tmp_path, place):
    if place == "default":
        small_home.rename(tmp_path / "ddgan-gpu")
        (tmp_path / "a home's").symlink_to("ddgan-gpu")
        variables = {}
    else:
        variables = {"DDGAN_GPU_HOME": str(small_home)}
    variables |= {"PYTHONPATH": "/before", "PYTHONDONTWRITEBYTECODE": "1"}
    done = shell("measure", "--only", "a b", cwd=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    arguments, environment = json.loads(done.stdout)
    assert arguments == ["measure", "--only", "a b"]
    assert environment["PYTHONPATH"] == f"{small_home}/src:{small_home}/site:/before"
    assert environment["DDGAN_ORT_LIBRARY"] == f"{small_home}/lib/libddgan_onnxruntime.so"
    assert "PYTHONDONTWRITEBYTECODE" not in environment


def test_nvidias_libraries_are_found_where_python_has_them(tmp_path, monkeypatch):
    library = tmp_path / "site-packages" / "nvidia" / "cu13" / "lib" / "libcudart.so.13"
    library.parent.mkdir(parents=True)
    library.touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    (tmp_path / "home" / "scratch").mkdir(parents=True)
    unpack.write_environment(tmp_path / "home")
    script = '. "$0" && printf %s "$LD_LIBRARY_PATH"'
    command = ["sh", "-euc", script, str(tmp_path / "home" / "env.sh")]
    for before in ("", "/before"):
        environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": before}
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert str(library.parent) in said.split(":") and said.split(":")[0] == (before or said.split(":")[0])


def test_every_dependency_of_ours_has_an_oldest_version_that_is_read():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(inventory.least_versions(project["dependencies"])) == len(project["dependencies"])


def test_versions_that_the_package_does_not_take_are_named(monkeypatch, tmp_path):
    have = {"onnx-ir": "1.0.0", "torch": "2.11.0+cu130", "triton": "3.4", "numpy": "2.0"}
    monkeypatch.setattr(inventory, "_version", lambda name: have.get(name, inventory.ABSENT))
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["onnx-ir>=1.1", "torch>=2.9", "numpy >= 2"]\n'
        '[project.optional-dependencies]\nkernels = ["triton>=3.5"]\nall = ["ours[kernels]"]\n'
    )
    assert inventory.not_taken(tmp_path / "pyproject.toml") == [
        "onnx-ir 1.0.0 is older than 1.1, the oldest that the package takes",
        "triton 3.4 is older than 3.5, the oldest that the package takes",
    ]
