"""What is installed: one top-level package with everything in it, and the public names."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import ddgan_deploy
import ddgan_deploy.export

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    # What make setup has compiled is not compiled again.
    subprocess.run([*command, "-Cbuild-dir=build/editable"], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_wheel_holds_one_package(wheel_names):
    top = {name.split("/")[0] for name in wheel_names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"ddgan_deploy"}


def test_wheel_holds_every_module_and_data_file(wheel_names):
    sources = [
        (ROOT / folder / path.relative_to(ROOT / folder)).relative_to(ROOT).as_posix()
        for folder in ("ddgan_deploy", "kernels", "export")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".j2", ".html", ".css", ".js", ".pth", ".safetensors", ".typed", ".json")
    ]
    expected = {
        name if name.startswith("ddgan_deploy/") else f"ddgan_deploy/{name}"
        for name in sources
        if "__pycache__" not in name
    }
    assert expected
    assert expected <= set(wheel_names)


def test_public_names():
    assert set(ddgan_deploy.__all__) == {"__version__", "load_checkpoint", "open_artifact"}
    assert set(ddgan_deploy.export.__all__) == {"ExportOptions", "ExportResult", "FailedGate", "export"}
    for module in (ddgan_deploy, ddgan_deploy.export):
        for name in module.__all__:
            assert getattr(module, name) is not None


def test_version_is_stated_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == ddgan_deploy.__version__
    assert "Unreleased" in (ROOT / "CHANGELOG.md").read_text()
