"""The README's commands, run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ddgan_deploy.cli import sample, verify
from ddgan_deploy.export import cli as export_command

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
COMMANDS = {"ddgan-export": export_command.main, "ddgan-sample": sample.main, "ddgan-verify": verify.main}
MARK = "<!-- the test-suite runs these lines -->\n```console\n"


def test_commands(tmp_path, monkeypatch):
    block = README.split(MARK)[1].split("```")[0].strip().splitlines()
    assert len(block) >= 5
    monkeypatch.chdir(tmp_path)
    for line in block:
        name, *arguments = shlex.split(line)
        assert COMMANDS[name](arguments) == 0, line
    assert {path.name for path in tmp_path.iterdir()} == {"digits", "digits-fp16", "grid.png", "singles", "images.npz"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_described(name):
    assert f"`{name} " in README


def test_pictures_and_files_exist():
    root = Path(__file__).parent.parent
    for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (root / target).is_file(), target
    assert "DDGAN_" not in README
