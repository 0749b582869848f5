"""How pieces of a bundle become a home: in any order, damaged, cut short, of another bundle."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from home import Home
from pieces import BundleError, Contents, Source, open_piece, write_pieces

from tests.tools.small_bundle import (
    FILE,
    LIMIT,
    archive_with,
    assert_is_there,
    bundle,
    noise,
    only,
    run,
    snapshot,
    tree,
)

pytestmark = pytest.mark.usefixtures("quiet")


def test_pieces_are_of_the_size_that_is_asked_for(whole):
    _, folders = whole
    sizes = [only(folder).stat().st_size for folder in folders]
    assert len(sizes) > 5 and max(sizes) <= LIMIT


@pytest.mark.parametrize("seed", range(3))
def test_pieces_come_in_any_order_and_twice(whole, tmp_path, seed):
    sources, folders = whole
    order = np.random.default_rng(seed).permutation([*range(len(folders)), 0, 1])
    for number in order:
        assert run(folders[number], "--home", tmp_path / "home") == 0
    assert_is_there(tmp_path / "home", sources)
    assert run(tmp_path / "bundle", "--home", tmp_path / "home") == 0
    assert_is_there(tmp_path / "home", sources)


def test_what_is_whole_is_there_before_the_rest(whole, tmp_path):
    sources, folders = whole
    contents = open_piece(only(folders[0])).contents
    own, package = contents.items
    first = max(part.piece for part in own.parts)
    assert min(part.piece for part in package.parts) == first + 1  # it begins a piece
    assert run(*folders[: first + 1], "--home", tmp_path / "home") == 0
    home = Home(tmp_path / "home")
    assert snapshot(tmp_path / "home" / "src") == snapshot(sources)
    assert home.is_done(own) and not home.is_done(package) and home.parts_there(package) == 1


def test_the_same_files_make_the_same_bundle(tmp_path):
    files = tree(tmp_path / "sources")
    one = bundle(tmp_path / "one", files)
    os.utime(files["main.py"], (1e9, 1e9))
    two = bundle(tmp_path / "two", files)
    assert [only(folder).read_bytes() for folder in one] == [only(folder).read_bytes() for folder in two]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "is damaged"),
        (lambda data: data[:30] + b"x" + data[31:], "is damaged"),
        (lambda data: data.replace(b'"size"', b'"sise"', 1), "is damaged"),
        (lambda data: data[:-10], "is cut, 10 bytes are missing"),
        (lambda data: data[:100], "is damaged"),
        (lambda data: data + b"more", "is damaged"),
        (lambda data: b"", "is damaged"),
        (lambda data: data.replace(b"bundle 1", b"bundle 2", 1), "is of format 2"),
    ],
)
def test_a_damaged_piece_is_named_and_the_rest_is_kept(whole, tmp_path, capsys, harm, said):
    sources, folders = whole
    damaged = only(folders[1])
    data = damaged.read_bytes()
    damaged.write_bytes(harm(data))
    assert run(tmp_path / "bundle", "--home", tmp_path / "home") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {damaged} {said}")
    damaged.write_bytes(data)
    assert run(folders[1], "--home", tmp_path / "home") == 0
    assert_is_there(tmp_path / "home", sources)


def test_parts_that_a_power_cut_left_wrong_are_brought_again(whole, tmp_path, capsys):
    sources, folders = whole
    assert run(*folders[:-1], "--home", tmp_path / "home") == 0
    part = next((tmp_path / "home" / "parts").iterdir())
    part.write_bytes(bytes(part.stat().st_size))
    assert run(folders[-1], "--home", tmp_path / "home") == 2
    assert capsys.readouterr().err == "error: package does not fit together: bring its pieces again\n"
    assert run(*folders, "--home", tmp_path / "home") == 0
    assert_is_there(tmp_path / "home", sources)


class Killed(BaseException):
    pass


def killed_at(count: int, patch: pytest.MonkeyPatch) -> None:
    """Ends whatever runs at its step of that number: each leaves a file or a folder in its place."""
    left = [count]

    def dies(method: Callable[..., object]) -> Callable[..., object]:
        def call(self: Path, *arguments: object, **options: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return method(self, *arguments, **options)

        return call

    for name in ("replace", "unlink", "mkdir", "symlink_to", "chmod"):
        patch.setattr(Path, name, dies(getattr(Path, name)))


def test_it_goes_on_after_it_was_killed_anywhere(whole, tmp_path):
    sources, _ = whole
    count = 0
    while True:
        home = tmp_path / f"home-{count}"
        with pytest.MonkeyPatch.context() as patch:
            killed_at(count, patch)
            try:
                assert run(tmp_path / "bundle", "--home", home) == 0
                break
            except Killed:
                pass
        assert run(tmp_path / "bundle", "--home", home) == 0
        assert_is_there(home, sources)
        count += 1
    assert count > 30


def test_a_home_takes_another_bundle_only_when_told(whole, tmp_path, capsys):
    _, folders = whole
    home = tmp_path / "home"
    assert run(tmp_path / "bundle", "--home", home) == 0
    files = tree(tmp_path / "newer", main=b"print('newer')\n")
    del files["empty"]
    (tmp_path / "newer" / "empty").unlink()
    newer = bundle(tmp_path / "second", files)
    before = snapshot(home)
    assert run(newer[0], "--home", home) == 2
    assert "is of another bundle" in capsys.readouterr().err
    assert snapshot(home) == before
    package = open_piece(only(newer[0])).contents.items[1]
    for folder in newer[: package.parts[0].piece - 1]:  # the package has come before
        assert run(folder, "--home", home, "--replace") == 0
    assert_is_there(home, tmp_path / "newer")
    assert run(newer[0], folders[0], "--home", home, "--replace") == 2
    assert "are of two bundles" in capsys.readouterr().err


def test_replacing_goes_on_after_it_was_killed_anywhere(whole, tmp_path):
    newer = bundle(
        tmp_path / "second", {name: path for name, path in tree(tmp_path / "newer").items() if name != "empty"}
    )
    (tmp_path / "newer" / "empty").unlink()
    count = 0
    while True:
        home = tmp_path / f"home-{count}"
        assert run(tmp_path / "bundle", "--home", home) == 0
        with pytest.MonkeyPatch.context() as patch:
            killed_at(count, patch)
            try:
                assert run(*newer, "--home", home, "--replace") == 0
                break
            except Killed:
                pass
        assert run(*newer, "--home", home, "--replace") == 0
        assert_is_there(home, tmp_path / "newer")
        count += 1
    assert count > 20


def test_an_empty_item_and_many_small_ones_fit(tmp_path):
    sources = []
    for number in range(5):
        path = tmp_path / f"{number}.zip"
        archive_with(path, (f"file-{number}", FILE, noise(number * 50)))
        sources.append(Source(f"item{number}", "1", "src", path))
    (tmp_path / "empty").touch()
    sources.append(Source("nothing", "1", "src", tmp_path / "empty"))
    (tmp_path / "bundle").mkdir()
    contents = write_pieces(sources, tmp_path / "bundle", LIMIT)
    assert isinstance(contents, Contents) and contents.items[-1].size == 0
    assert [len(item.parts) for item in contents.items if item.size] == [1] * 5 or contents.pieces > 1
    with pytest.raises(BundleError, match="make them larger"):
        write_pieces(sources, tmp_path / "bundle", 500)


@pytest.mark.parametrize("named", ["nothing", "empty", "other"])
def test_wrong_places_are_one_line(whole, tmp_path, capsys, named):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").touch()
    arguments = [tmp_path / "bundle", "--home", tmp_path / "other"] if named == "other" else [tmp_path / named]
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / named) in line
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine"]


def test_two_do_not_unpack_at_once(whole, tmp_path, capsys):
    home = Home(tmp_path / "home")
    with home.alone():
        assert run(tmp_path / "bundle", "--home", tmp_path / "home") == 2
    assert "another process" in capsys.readouterr().err
    assert run(tmp_path / "bundle", "--home", tmp_path / "home") == 0
