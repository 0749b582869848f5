"""The browser for the tests is fetched once, whole, complete, and not missed with a traceback."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import fetch_browser as tool
import pytest

from ddgan_deploy.errors import InputError
from tests import browser

brotli = pytest.importorskip("brotli")
RUNS, FAILS = b"#!/bin/sh\nexit 0\n", b"#!/bin/sh\nexit 1\n"
# Runs where a library lies that it is told to look for.
NEEDS = b'#!/bin/sh\n[ "$1" = --version ] && [ -f "$LD_LIBRARY_PATH/libglib-2.0.so.0" ]\n'
WIDTH = """
const drawn = document.createElement("canvas").getContext("2d");
drawn.font = `20px ${arguments[0]}`;
return drawn.measureText("illicit MMMM").width;
"""


def archive(files: dict[str, bytes], mode: str = "w") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as made:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            made.addfile(member, io.BytesIO(text))
    return content.getvalue()


@pytest.fixture
def world(monkeypatch, tmp_path):
    """An empty environment on x86-64 Linux; both packages and apt's as the tests say, and what was asked for."""
    monkeypatch.setattr(tool, "FOLDER", tmp_path / "share" / "browser")
    monkeypatch.setattr(tool.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    asked: list[str] = []
    programs = {"browser": RUNS, "driver": RUNS}

    def fetch_package(package, folder):
        asked.append(package.name)
        parts = {
            "chromium.br": programs["browser"],
            "swiftshader.tar.br": archive({"libEGL.so": b"egl"}),
            "al2023.tar.br": archive({"lib/libnss3.so": b"nss"}),
            "fonts.tar.br": archive({"fonts/Sans/Sans.ttf": b"sans", "fonts.conf": b"/var/task"}),
        }
        path = folder / "package.tgz"
        packed = {f"package/bin/{name}": brotli.compress(text) for name, text in parts.items()}
        path.write_bytes(archive(packed, "w:gz"))
        return path

    def unpack_wheel(wheel, folder, pip_flags):
        asked.append(" ".join([wheel.project, *pip_flags]))
        (program,) = wheel.programs
        (folder / program).parent.mkdir(parents=True)
        (folder / program).write_bytes(programs["driver"])
        (folder / program).chmod(0o755)

    def unpack_own(packages, folder):
        asked.extend(packages)
        library = folder / "usr" / "lib" / "x86_64-linux-gnu" / "libglib-2.0.so.0"
        library.parent.mkdir(parents=True)
        library.write_bytes(b"glib")

    for replacement in (fetch_package, unpack_wheel, unpack_own):
        monkeypatch.setattr(tool, replacement.__name__, replacement)
    return programs, asked


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_everything_has_its_place_once(world):
    _, asked = world
    for _ in range(2):
        folder = tool.fetch_browser(["--pre"])
    assert asked == ["@sparticuz/chromium", "chromedriver-py --pre"]
    assert names(folder) == [
        "chrome-headless-shell",
        "chromedriver",
        "fetched.txt",
        "fonts/Sans.ttf",
        "fonts/fonts.conf",
        "lib/libnss3.so",
        "libEGL.so",
    ]
    assert "/var/task" not in (folder / "fonts" / "fonts.conf").read_text()


def test_another_version_makes_way(world):
    tool.fetch_browser([])
    (tool.FOLDER / "fetched.txt").write_text("@sparticuz/chromium 1.0.0\n")
    (tool.FOLDER / "old").touch()
    tool.fetch_browser([])
    assert "old" not in names(tool.FOLDER)
    assert tool.CHROMIUM.version in (tool.FOLDER / "fetched.txt").read_text()


def test_libraries_that_the_driver_lacks_come_out_of_packages(world):
    programs, asked = world
    programs["driver"] = NEEDS
    assert "lib/libglib-2.0.so.0" in names(tool.fetch_browser([]))
    assert asked[2:] == list(tool.LIBRARIES)


@pytest.mark.parametrize(("program", "name"), [("browser", "chrome-headless-shell"), ("driver", "chromedriver")])
def test_what_does_not_run_is_not_kept(world, capsys, program, name):
    programs, _ = world
    programs[program] = FAILS
    tool.main([])
    assert f"Chromium was not fetched ({name} does not run on this machine)" in capsys.readouterr().err
    assert not tool.FOLDER.exists()


@pytest.mark.parametrize("lacking", ["fetch_package", "unpack_wheel", "unpack_own"])
def test_what_cannot_be_had_is_a_notice(world, monkeypatch, capsys, lacking):
    world[0]["driver"] = NEEDS

    def fails(*_):
        raise InputError("no route to host")

    monkeypatch.setattr(tool, lacking, fails)
    tool.main([])
    said = capsys.readouterr().err
    assert said.startswith("notice: Chromium was not fetched (") and "no route to host)" in said
    assert not tool.FOLDER.exists()


def test_another_processor_is_told_at_once(world, monkeypatch):
    monkeypatch.setattr(tool.platform, "machine", lambda: "aarch64")
    with pytest.raises(InputError, match="made for Linux on x86-64 alone"):
        tool.fetch_browser([])
    assert world[1] == []


def test_without_brotli(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "brotli", None)
    with pytest.raises(InputError, match="the package brotli is missing"):
        tool.fetch_browser([])


@pytest.fixture
def nothing_fetched(monkeypatch, tmp_path):
    monkeypatch.setattr(browser, "FETCHED", tmp_path / "browser")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)


def put_program(path):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(RUNS)
    path.chmod(0o755)
    return str(path)


def test_the_tests_find_the_fetched_one_first(nothing_fetched, tmp_path):
    on_path = tuple(put_program(tmp_path / name) for name in ("chromium", "chromedriver"))
    assert browser.find_browser() == on_path
    fetched = tuple(put_program(browser.FETCHED / name) for name in (tool.BROWSER, tool.DRIVER))
    assert browser.find_browser() == fetched


def test_the_tests_say_what_is_missing_and_fail_in_continuous_integration(nothing_fetched, monkeypatch):
    with pytest.raises(pytest.skip.Exception, match="there is no Chromium: run tools/fetch_browser.py"):
        browser.find_browser()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="there is no Chromium"):
        browser.find_browser()


def test_the_tests_look_where_it_is_fetched_to():
    assert browser.FETCHED == tool.FOLDER


def test_the_real_one_takes_its_own_libraries_and_font():
    if browser.find_browser()[1] != str(tool.FOLDER / tool.DRIVER):
        pytest.skip("the browser is another than make setup fetches")
    with browser.open_browser() as opened:
        loaded = Path(f"/proc/{opened.service.process.pid}/maps").read_text()
        assert f"{tool.FOLDER}/lib/libnss3.so" in loaded
        # Where there is no other font, one for programs is as wide as any.
        families = ("monospace", "serif", "'Open Sans'")
        monospace, serif, own = (opened.execute_script(WIDTH, family) for family in families)
        assert monospace == serif == own > 0
