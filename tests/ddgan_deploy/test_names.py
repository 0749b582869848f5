"""Names are bytes: what a screen, a shell and a file of UTF-8 make of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ddgan_deploy.names import in_utf8, printable, quoted, recorded

NAMES = {
    b"netG_1200.pth": ("netG_1200.pth", "netG_1200.pth"),
    b"net  G.pth": ("net  G.pth", "'net  G.pth'"),
    b"exp[/b] :smile:": ("exp[/b] :smile:", "'exp[/b] :smile:'"),
    "größe→.pth".encode(): ("größe→.pth", "'größe→.pth'"),
    b"it's.pth": ("it's.pth", "'it'\"'\"'s.pth'"),
    b"a\nb\t\x1b[31m\x00"[:-1]: (r"a\nb\t\x1b[31m", r"$'a\nb\t\x1b[31m'"),
    b"a\xff'\\\n": (r"a\xff'\\n", r"$'a\xff\'\\\n'"),
    "a\u202eb\U000e0001".encode(): (r"a\u202eb\U000e0001", r"$'a\u202eb\U000e0001'"),
}
"""A name -> what is printed, and the word of a shell."""


@pytest.mark.parametrize(("name", "shown"), [(os.fsdecode(name), shown) for name, (shown, _) in NAMES.items()])
def test_printable(name, shown):
    assert printable(name) == shown
    assert printable(name).isprintable()
    printable(name).encode()


@pytest.mark.parametrize("name", NAMES)
def test_quoted(name):
    word = quoted(os.fsdecode(name))
    assert word == NAMES[name][1] and word.isprintable()
    environment = {"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
    said = subprocess.check_output(["bash", "-c", f"printf %s {word}"], env=environment)
    assert said == name


@pytest.mark.parametrize(("name", "text"), [(b"a\n\xc3\xb6.pth", "a\nö.pth"), (b"a\xffb", r"a\xffb")])
def test_recorded(name, text):
    assert recorded(os.fsdecode(name)) == text


@pytest.mark.parametrize("name", [b"plain", b"n\xff"])
def test_in_utf8(tmp_path, name):
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    (folder / "file").write_text("content")
    with in_utf8(folder) as place:
        assert os.fspath(place).encode()
        assert (place / "file").read_text() == "content"
    assert (place == folder) == (name == b"plain")
    assert name == b"plain" or not Path(place).exists(), "its handle is closed"
