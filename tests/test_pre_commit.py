"""The hooks of .pre-commit-config.yaml are the checks of the Makefile, by the project's own programs."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
VENV = ".venv/bin/"


def _hooks():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (repository,) = config["repos"]
    assert repository["repo"] == "local"
    return {hook["id"]: hook for hook in repository["hooks"]}


def test_hooks():
    assert set(_hooks()) == {"ruff-check", "ruff-format", "mypy"}


@pytest.mark.parametrize("hook", _hooks().values(), ids=_hooks())
def test_a_hook_runs_a_program_of_the_environment(hook):
    assert hook["language"] == "system"
    program, *arguments = shlex.split(hook["entry"])
    assert program.startswith(VENV)
    # The tests' own environment may have another name.
    installed = Path(sys.executable).parent / program.removeprefix(VENV)
    subprocess.run([installed, *arguments, "--help"], check=True, capture_output=True)


def test_make_runs_the_same_programs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for hook in _hooks().values():
        command = hook["entry"].removeprefix(VENV).removesuffix(" --force-exclude").replace("format --check", "format")
        assert f"$(BIN)/{command}" in makefile
