"""A package of the npm registry is fetched where it can be had, and nothing else is left in its place."""

from __future__ import annotations

import base64
import hashlib
import io
import urllib.error
from email.message import Message
from pathlib import Path

import fetch_onnxruntime_web
import npm_packages as npm
import pytest

from ddgan_deploy.errors import InputError

CONTENT = b"the archive"
DIGEST = f"sha512-{base64.b64encode(hashlib.sha512(CONTENT).digest()).decode()}"
PLAIN = npm.NpmPackage("plain", "1.2.0", DIGEST)
SCOPED = npm.NpmPackage("@scope/name", "1.2.0", DIGEST)


@pytest.fixture(autouse=True)
def _world(tmp_path, monkeypatch):
    """Without npm, settings and network."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.setattr(npm.urllib.request, "urlopen", lambda *_, **__: pytest.fail("the network was asked"))


@pytest.fixture
def registry(monkeypatch):
    """Answers with a content, or an error; returns what it was asked."""
    asked: list[str] = []

    def answer(content: bytes | Exception) -> list[str]:
        def urlopen(url: str, timeout: float) -> io.BytesIO:
            asked.append(url)
            if isinstance(content, Exception):
                raise content
            return io.BytesIO(content)

        monkeypatch.setattr(npm.urllib.request, "urlopen", urlopen)
        return asked

    return answer


def program(folder: Path, script: str) -> None:
    """npm."""
    (folder / "bin").mkdir()
    (folder / "bin" / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / "npm").chmod(0o755)


def test_from_the_registry_that_npm_would_ask(tmp_path, registry, monkeypatch):
    asked = registry(CONTENT)
    archive = npm.fetch_package(PLAIN, tmp_path / "build")
    assert list((tmp_path / "build").iterdir()) == [archive] and archive.name == "plain-1.2.0.tgz"
    assert archive.read_bytes() == CONTENT
    assert asked.pop().startswith("https://")
    # What is there is not fetched again; what is another is.
    npm.fetch_package(PLAIN, tmp_path / "build")
    assert asked == []
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".npmrc").write_text("fund=false\nregistry = http://mirror.example/npm/\n")
    archive.write_bytes(b"cut sho")
    assert npm.fetch_package(PLAIN, tmp_path / "build").read_bytes() == CONTENT
    assert asked.pop() == "http://mirror.example/npm/plain/-/plain-1.2.0.tgz"
    monkeypatch.setenv("npm_config_registry", "http://other.example")
    npm.fetch_package(PLAIN, tmp_path / "elsewhere")
    assert asked.pop() == "http://other.example/plain/-/plain-1.2.0.tgz"


def test_a_scope(tmp_path, registry, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://mirror.example")
    asked = registry(CONTENT)
    assert npm.fetch_package(SCOPED, tmp_path / "build").name == "scope-name-1.2.0.tgz"
    assert asked == ["http://mirror.example/@scope/name/-/name-1.2.0.tgz"]


@pytest.mark.parametrize("package", [PLAIN, SCOPED], ids=lambda package: package.name)
def test_by_npm(tmp_path, package):
    program(tmp_path, f'[ "$4" = {package.name}@1.2.0 ] && printf "%s" "{CONTENT.decode()}" > "$6/{package.archive}"')
    assert npm.fetch_package(package, tmp_path / "build").read_bytes() == CONTENT


def test_by_the_registry_where_npm_fails(tmp_path, registry):
    program(tmp_path, "exit 1")
    registry(CONTENT)
    assert npm.fetch_package(PLAIN, tmp_path / "build").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"<html>", "what came is not what was published"),
        (urllib.error.URLError("no route to host"), "no route to host"),
        (urllib.error.HTTPError("http://x", 404, "Not Found", Message(), None), "404: Not Found"),
        (ValueError("unknown url type"), "unknown url type"),
    ],
)
def test_what_cannot_be_had(tmp_path, registry, answer, says):
    registry(answer)
    with pytest.raises(InputError, match=says):
        npm.fetch_package(PLAIN, tmp_path / "build")
    assert not list((tmp_path / "build").iterdir())


def test_onnxruntime_web_that_cannot_be_had_is_a_notice(tmp_path, registry, capsys):
    registry(b"<html>")
    fetch_onnxruntime_web.main(tmp_path)
    said = capsys.readouterr().err
    assert said.startswith("notice: onnxruntime-web was not fetched (what came is not what was published)")
