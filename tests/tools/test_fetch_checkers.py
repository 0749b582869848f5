"""What checks deploy/ is fetched once, whole, and not missed with a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ddgan_deploy.errors import InputError


@pytest.fixture
def checkers(monkeypatch, tmp_path):
    """The module, with an empty environment to fetch into."""
    import fetch_checkers

    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(fetch_checkers, "PROMTOOL", tmp_path / "bin" / "promtool")
    monkeypatch.setattr(fetch_checkers, "KSERVE", tmp_path / "kserve")
    return fetch_checkers


def test_promtool_comes_out_of_the_package_once(checkers, monkeypatch):
    asked = []

    def unpack(packages, folder):
        asked.extend(packages)
        program = folder / "usr" / "bin" / "promtool"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)

    monkeypatch.setattr(checkers, "unpack_own", unpack)
    for _ in range(2):
        subprocess.run([checkers.fetch_promtool()], check=True)
    assert asked == ["prometheus"]
    assert [path.name for path in checkers.PROMTOOL.parent.iterdir()] == ["promtool"]


@pytest.fixture
def pip(monkeypatch, tmp_path):
    """A stand-in for Python with pip; gives a function that says what pip was asked."""

    def stand_in(commands: str):
        program = tmp_path / "python"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n{commands}\n')
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        return lambda: (tmp_path / "asked").read_text().splitlines()

    return stand_in


def test_the_wheel_is_of_the_version_in_the_constraints(checkers, pip):
    (wanted,) = [line for line in checkers.CONSTRAINTS.read_text().splitlines() if line.startswith("kserve==")]
    name = wanted.replace("==", "-") + "-py3-none-any.whl"
    asked = pip(f'while [ "$1" != --dest ]; do shift; done; touch "$2/{name}"')
    for _ in range(2):
        assert [path.name for path in checkers.fetch_kserve(["--pre"]).iterdir()] == [name]
    (line,) = asked()
    assert f" {wanted} --pre" in line and "--no-deps" in line


def test_another_version_makes_way(checkers, pip):
    checkers.KSERVE.mkdir()
    (checkers.KSERVE / "kserve-0.1.0-py3-none-any.whl").touch()
    pip("true")
    checkers.fetch_kserve([])
    assert list(checkers.KSERVE.iterdir()) == []


def test_what_cannot_be_had_is_a_notice(checkers, pip, monkeypatch, capsys):
    def unpack(packages, folder):
        raise InputError("apt-get has no prometheus")

    monkeypatch.setattr(checkers, "unpack_own", unpack)
    pip("echo first >&2; echo 'ERROR: no such thing' >&2; exit 1")
    checkers.main([])
    said = " ".join(capsys.readouterr().err.split())
    assert "promtool was not fetched (apt-get has no prometheus)" in said
    assert "KServe's wheel was not fetched (ERROR: no such thing)" in said
    assert not checkers.PROMTOOL.exists() and not checkers.KSERVE.exists()
