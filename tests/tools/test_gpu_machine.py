"""How pieces of a bundle become a home: in any order, damaged, cut short, and made to do harm."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "gpu_machine"))

import archives  # noqa: E402
import inventory  # noqa: E402
import unpack  # noqa: E402
from home import Home  # noqa: E402
from pieces import BundleError, Contents, Source, open_piece, write_pieces  # noqa: E402

LIMIT = 4000
FILE, LINK = stat.S_IFREG, stat.S_IFLNK


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """The table takes seconds; it has tests of its own."""
    monkeypatch.setattr(unpack, "show", lambda home, native: None)


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def archive_with(path: Path, *members: tuple[str, int, bytes]) -> Path:
    """An archive of (path, file type, content)."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, kind, content in members:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, (kind | 0o644) << 16
            archive.writestr(info, content)
    return path


def tree(folder: Path, main: bytes = b"print()\n") -> dict[str, Path]:
    """Files of every kind, as a bundle takes them."""
    folder.mkdir()
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "main.py").write_bytes(main)
    (folder / "empty").touch()
    (folder / "runs.sh").write_text("#!/bin/sh\n")
    (folder / "runs.sh").chmod(0o755)
    (folder / "deep" / "large").write_bytes(noise(3 * LIMIT))
    (folder / "deep" / "er" / "back").symlink_to("../large")
    (folder / "folder").symlink_to("deep/er")
    paths = [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
    return {str(path.relative_to(folder)): path for path in paths}


def wheel(path: Path, size: int = 2 * LIMIT) -> Path:
    return archive_with(
        path,
        ("package/__init__.py", FILE, b""),
        ("package/data", FILE, noise(size, seed=1)),
        ("package-1.0.data/platlib/package/native.so", FILE, b"elf"),
        ("package-1.0.data/scripts/run", FILE, b"#!python"),
        ("package-1.0.dist-info/METADATA", FILE, b"Name: package\nVersion: 1.0\n"),
    )


def bundle(folder: Path, files: dict[str, Path], *, limit: int = LIMIT) -> list[Path]:
    """The pieces of a bundle of sources and one wheel, each in a folder of its own."""
    folder.mkdir()
    archives.make_archive(files, folder / "sources.zip")
    sources = [
        Source("sources", "1", "src", folder / "sources.zip"),
        Source("package", "1.0", "site", wheel(folder / "package.whl"), apart=True),
    ]
    write_pieces(sources, folder, limit)
    pieces = sorted(folder.glob("*.piece"))
    for number, piece in enumerate(pieces):
        (folder / str(number)).mkdir()
        piece.rename(folder / str(number) / piece.name)
    return [folder / str(number) for number in range(len(pieces))]


def only(folder: Path) -> Path:
    (path,) = folder.glob("*.piece")
    return path


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """Every file and link with its content and mode."""
    found: dict[str, tuple[object, ...]] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_file():
            found[name] = ("file", path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    return found


def run(*arguments: object) -> int:
    return unpack.main([str(argument) for argument in arguments])


@pytest.fixture
def whole(tmp_path) -> tuple[Path, list[Path]]:
    """A folder of sources, and the folders of a bundle's pieces."""
    files = tree(tmp_path / "sources")
    return tmp_path / "sources", bundle(tmp_path / "bundle", files)


def assert_is_there(home: Path, sources: Path) -> None:
    assert snapshot(home / "src") == snapshot(sources)
    names = {"package/__init__.py", "package/data", "package/native.so", "package-1.0.dist-info/METADATA"}
    assert set(snapshot(home / "site")) == names
    assert (home / "site" / "package" / "data").read_bytes() == noise(2 * LIMIT, seed=1)
    assert not list((home / "parts").iterdir()) and not list((home / "scratch").iterdir())


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
    one, two = (bundle(tmp_path / name, files) for name in ("one", "two"))
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


HOSTILE = {
    "up": [("+good", FILE, b""), ("../evil", FILE, b"")],
    "up within": [("a/../../evil", FILE, b"")],
    "absolute": [("/tmp/ddgan-evil", FILE, b"")],
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
    source = Source("evil", "1", into, archive_with(tmp_path / "evil.zip", *HOSTILE[case]))
    (tmp_path / "bundle").mkdir()
    write_pieces([source], tmp_path / "bundle", LIMIT)
    assert run(tmp_path / "bundle", "--home", tmp_path / "around" / "home") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: evil ") and line.endswith(": make the bundle anew")
    assert [path.name for path in (tmp_path / "around").iterdir()] == ["home"]
    written = {name for name in snapshot(tmp_path / "around" / "home") if name.startswith(("src/", "site/"))}
    assert not written
    assert not Path("/tmp/ddgan-evil").exists()


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


def shell(*arguments: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DDGAN_GPU_HOME"} | variables
    command = ["sh", ROOT / "tools" / "gpu_machine.sh", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("command", [["test"], ["measure", "--list"], [], ["fly"]])
def test_without_a_home_it_says_so(tmp_path, command):
    done = shell(*command, cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


@pytest.fixture
def small_home(tmp_path) -> Path:
    """A home whose run.py prints what it was given."""
    home = tmp_path / "a home's"
    script = home / "src" / "tools" / "gpu_machine" / "run.py"
    script.parent.mkdir(parents=True)
    script.write_text("import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))")
    (home / "lib").mkdir()
    (home / "lib" / "libddgan_onnxruntime.so").touch()
    (home / "scratch").mkdir()
    unpack.write_environment(home)
    return home


@pytest.mark.parametrize("place", ["variable", "default"])
def test_the_homes_own_run_gets_its_paths(small_home, tmp_path, place):
    if place == "default":
        small_home.rename(tmp_path / "ddgan-gpu")
        (tmp_path / "a home's").symlink_to("ddgan-gpu")
        variables = {}
    else:
        variables = {"DDGAN_GPU_HOME": str(small_home)}
    variables |= {"PYTHONPATH": "/before", "PYTHONDONTWRITEBYTECODE": "1"}
    done = shell("measure", "--only", "a b", cwd=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    arguments, environment = json.loads(done.stdout)
    assert arguments == ["measure", "--only", "a b"]
    assert environment["PYTHONPATH"] == f"{small_home}/src:{small_home}/site:/before"
    assert environment["DDGAN_ORT_LIBRARY"] == f"{small_home}/lib/libddgan_onnxruntime.so"
    assert "PYTHONDONTWRITEBYTECODE" not in environment


def test_nvidias_libraries_are_found_where_python_has_them(tmp_path, monkeypatch):
    library = tmp_path / "site-packages" / "nvidia" / "cu13" / "lib" / "libcudart.so.13"
    library.parent.mkdir(parents=True)
    library.touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    (tmp_path / "home" / "scratch").mkdir(parents=True)
    unpack.write_environment(tmp_path / "home")
    script = '. "$0" && printf %s "$LD_LIBRARY_PATH"'
    command = ["sh", "-euc", script, str(tmp_path / "home" / "env.sh")]
    for before in ("", "/before"):
        environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": before}
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert str(library.parent) in said.split(":") and said.split(":")[0] == (before or said.split(":")[0])


def test_every_dependency_of_ours_has_an_oldest_version_that_is_read():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(inventory.least_versions(project["dependencies"])) == len(project["dependencies"])


def test_versions_that_the_package_does_not_take_are_named(monkeypatch, tmp_path):
    have = {"onnx-ir": "1.0.0", "torch": "2.11.0+cu130", "triton": "3.4", "numpy": "2.0"}
    monkeypatch.setattr(inventory, "_version", lambda name: have.get(name, inventory.ABSENT))
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["onnx-ir>=1.1", "torch>=2.9", "numpy >= 2"]\n'
        '[project.optional-dependencies]\nkernels = ["triton>=3.5"]\nall = ["ours[kernels]"]\n'
    )
    assert inventory.not_taken(tmp_path / "pyproject.toml") == [
        "onnx-ir 1.0.0 is older than 1.1, the oldest that the package takes",
        "triton 3.4 is older than 3.5, the oldest that the package takes",
    ]
