"""onnxruntime-web is fetched for the tests where it can be had, and nothing else is left in its place."""

from __future__ import annotations

import base64
import hashlib
import io
import urllib.error
from email.message import Message
from pathlib import Path

import fetch_onnxruntime_web as fetch
import pytest

CONTENT = b"the archive"


@pytest.fixture(autouse=True)
def _world(tmp_path, monkeypatch):
    """Without npm, settings and network; what was published is `CONTENT`."""
    digest = base64.b64encode(hashlib.sha512(CONTENT).digest()).decode()
    monkeypatch.setattr(fetch, "INTEGRITY", f"sha512-{digest}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.setattr(fetch.urllib.request, "urlopen", lambda *_, **__: pytest.fail("the network was asked"))


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

        monkeypatch.setattr(fetch.urllib.request, "urlopen", urlopen)
        return asked

    return answer


def npm(folder: Path, script: str) -> None:
    (folder / "bin").mkdir()
    (folder / "bin" / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / "npm").chmod(0o755)


def test_from_the_registry_that_npm_would_ask(tmp_path, registry, monkeypatch):
    asked = registry(CONTENT)
    fetch.main(tmp_path / "build")
    assert [path.name for path in (tmp_path / "build").iterdir()] == [fetch.ARCHIVE]
    assert (tmp_path / "build" / fetch.ARCHIVE).read_bytes() == CONTENT
    assert asked.pop().startswith("https://")
    # What is there is not fetched again; what is another is.
    fetch.main(tmp_path / "build")
    assert asked == []
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".npmrc").write_text("fund=false\nregistry = http://mirror.example/npm/\n")
    (tmp_path / "build" / fetch.ARCHIVE).write_bytes(b"cut sho")
    fetch.main(tmp_path / "build")
    assert asked.pop() == f"http://mirror.example/npm/onnxruntime-web/-/{fetch.ARCHIVE}"
    monkeypatch.setenv("npm_config_registry", "http://other.example")
    fetch.main(tmp_path / "elsewhere")
    assert asked.pop() == f"http://other.example/onnxruntime-web/-/{fetch.ARCHIVE}"


def test_by_npm(tmp_path):
    npm(tmp_path, f'printf "%s" "{CONTENT.decode()}" > "$5/{fetch.ARCHIVE}"')
    fetch.main(tmp_path / "build")
    assert (tmp_path / "build" / fetch.ARCHIVE).read_bytes() == CONTENT


def test_by_the_registry_where_npm_fails(tmp_path, registry):
    npm(tmp_path, "exit 1")
    registry(CONTENT)
    fetch.main(tmp_path / "build")
    assert (tmp_path / "build" / fetch.ARCHIVE).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"<html>", "what came is not what was published"),
        (urllib.error.URLError("no route to host"), "no route to host"),
        (urllib.error.HTTPError("http://x", 404, "Not Found", Message(), None), "404: Not Found"),
        (ValueError("unknown url type"), "unknown url type"),
    ],
)
def test_what_cannot_be_had_is_a_notice(tmp_path, registry, capsys, answer, says):
    registry(answer)
    fetch.main(tmp_path / "build")
    said = capsys.readouterr().out
    assert said.startswith("notice: onnxruntime-web 1.30.0 was not fetched (") and says in said
    assert said.endswith("the tests of --web in a browser are skipped\n")
    assert not list((tmp_path / "build").iterdir())
