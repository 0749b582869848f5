"""Pieces that were made to do harm, or lie about what is in them: one line, and nothing is written outside."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import archives
import pytest
import unpack
from pieces import BundleError, Source, write_pieces

from tests.tools.small_bundle import (
    FILE,
    LIMIT,
    LINK,
    archive_with,
    assert_is_there,
    noise,
    only,
    run,
    snapshot,
)

pytestmark = pytest.mark.usefixtures("quiet")


HOSTILE = {
    "up": [("+good", FILE, b""), ("../evil", FILE, b"")],
    "up within": [("a/../../evil", FILE, b"")],
    "absolute": [("/OUTSIDE/evil", FILE, b"")],
    "backslash": [("..\\evil", FILE, b"")],
    "link up": [("good", FILE, b""), ("a/link", LINK, b"../../evil")],
    "link absolute": [("link", LINK, b"/etc/passwd")],
    "link of links": [("a", LINK, b"b/c"), ("d", LINK, b"a/../../.."), ("b/c/file", FILE, b"")],
    "through a link": [("good", FILE, b""), ("link", LINK, b"good"), ("link/evil", FILE, b"")],
    "long link": [("link", LINK, b"a/" * 3000)],
    "device": [("null", stat.S_IFCHR, b"")],
    "file over folder": [("a/b", FILE, b""), ("a", FILE, b"")],
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("into", ["src", "site"])
def test_an_archive_writes_nothing_outside(tmp_path, capsys, case, into):
    members = [(name.replace("/OUTSIDE", str(tmp_path)), kind, content) for name, kind, content in HOSTILE[case]]
    source = Source("evil", "1", into, archive_with(tmp_path / "evil.zip", *members))
    (tmp_path / "bundle").mkdir()
    write_pieces([source], tmp_path / "bundle", LIMIT)
    assert run(tmp_path / "bundle", "--home", tmp_path / "around" / "home") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: evil ") and line.endswith(": make the bundle anew")
    assert [path.name for path in (tmp_path / "around").iterdir()] == ["home"]
    written = {name for name in snapshot(tmp_path / "around" / "home") if name.startswith(("src/", "site/"))}
    assert not written
    assert not list(tmp_path.rglob("evil"))


def test_an_archive_does_not_go_through_a_link_of_another(tmp_path, capsys):
    (tmp_path / "bundle").mkdir()
    one = archive_with(tmp_path / "one.zip", ("docs/page", FILE, b""), ("build", LINK, b"docs"))
    two = archive_with(tmp_path / "two.zip", ("evil", FILE, b""))
    sources = [Source("one", "1", "src", one), Source("two", "1", "src/build/onnxruntime-headers", two)]
    write_pieces(sources, tmp_path / "bundle", LIMIT)
    assert run(tmp_path / "bundle", "--home", tmp_path / "home") == 2
    assert capsys.readouterr().err.startswith("error: two ")
    assert not list((tmp_path / "home").rglob("evil"))


def test_a_member_that_is_not_what_the_archive_says_is_refused(tmp_path):
    path = archive_with(tmp_path / "one.zip", ("file", FILE, noise(100)))
    data = path.read_bytes()
    size = (100).to_bytes(4, "little")
    (tmp_path / "scratch").mkdir()
    for lie in (99, 101, 1 << 31):
        path.write_bytes(data.replace(size + size, size + lie.to_bytes(4, "little")))
        with pytest.raises(BundleError):
            archives.unpack_archive(path, tmp_path / "out", tmp_path / "scratch")
        assert not (tmp_path / "out" / "file").exists()


def test_a_disk_that_is_too_small_is_one_line(whole, tmp_path, capsys, monkeypatch):
    _, folders = whole
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: SimpleNamespace(free=LIMIT))
    assert run(*folders, "--home", tmp_path / "home") == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["sources", "package"]
    assert all(line.endswith(" MB are free: free some space") for line in lines)
    monkeypatch.undo()
    monkeypatch.setattr(unpack, "show", lambda home, native: None)
    assert run(folders[0], "--home", tmp_path / "home") == 0  # all that came is kept
    assert_is_there(tmp_path / "home", tmp_path / "sources")


def rewritten(piece: Path, change: Callable[[list[dict[str, object]]], None]) -> None:
    """Changes a piece's contents, so that all its hashes are right."""
    _, line, rest = piece.read_bytes().split(b"\n", 2)
    items = json.loads(line)
    change(items)
    text = json.dumps(items, separators=(",", ":")).encode()
    piece.write_bytes(f"ddgan-gpu-bundle 1 {hashlib.sha256(text).hexdigest()} 1\n".encode() + text + b"\n" + rest)


@pytest.mark.parametrize(
    "change",
    [
        lambda items: items[0].update(into=".."),
        lambda items: items[0].update(into="/tmp"),
        lambda items: items[0].update(name="../evil"),
        lambda items: items[0].update(name=""),
        lambda items: items[0].update(size=10**12),
        lambda items: items[0].update(size="1"),
        lambda items: items[0].update(sha256="../evil"),
        lambda items: items[0].update(more=1),
        lambda items: items[0].pop("parts"),
        lambda items: items[0].update(parts=[], size=0),
        lambda items: items[0]["parts"][0].update(sha256="/tmp/ddgan-evil"),
        lambda items: items[0]["parts"][0].update(size=-1),
        lambda items: items[0]["parts"][0].update(piece=0),
        lambda items: items.append(items[0]),
        lambda items: items.clear(),
    ],
)
def test_contents_that_lie_are_one_line(tmp_path, capsys, change):
    (tmp_path / "bundle").mkdir()
    source = Source("one", "1", "src", archive_with(tmp_path / "one.zip", ("file", FILE, b"")))
    write_pieces([source], tmp_path / "bundle", LIMIT)
    rewritten(only(tmp_path / "bundle"), change)
    assert run(tmp_path / "bundle", "--home", tmp_path / "home") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'bundle'}")
    assert not (tmp_path / "home").exists()
