"""Files that are kept for the last drawings."""

from __future__ import annotations

from ddgan_deploy.play.files import Shelf


def test_files_are_made_when_they_are_asked_for():
    made = []
    shelf = Shelf()
    folder = shelf.put({"a": lambda: made.append(1) or b"content"})
    assert not made
    assert shelf.content(folder, "a") == b"content" and made == [1]
    assert shelf.content(folder, "b") is None and shelf.content("x", "a") is None


def test_old_ones_go():
    shelf = Shelf()
    folders = [shelf.put({"a": lambda: b""}) for _ in range(20)]
    there = [shelf.content(folder, "a") is not None for folder in folders]
    assert there == [False] * 4 + [True] * 16 and len(set(folders)) == 20
