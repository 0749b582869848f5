# ruff: noqa: PT012, SIM117 - what is tested is a block
"""An artifact, or a single file, exists whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddgan_deploy.artifact.manifest import MANIFEST, SAMPLER
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.artifact.staging import check_target, staged
from ddgan_deploy.errors import InputError
from ddgan_deploy.files import written_whole
from tests.ddgan_deploy.artifact.made import FILES, content, fill

# Folders.


def test_a_new_artifact(tmp_path):
    target = tmp_path / "a" / "b" / "artifact"
    with staged(target, overwrite=False) as staging:
        # On the target's own disk, where a rename is enough.
        assert staging.path.parent.parent == target.parent
        assert not target.exists()
        fill(staging.path)
    assert set(content(target)) == {*FILES, MANIFEST}
    assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o777 & ~umask()


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    "failure",
    [
        InputError("wrong"),
        OSError(errno.ENOSPC, "No space left on device"),
        KeyboardInterrupt(),
        SystemExit(1),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_a_failure_half_way_leaves_nothing(tmp_path, failure, exists):
    target = tmp_path / "deep" / "artifact"
    if exists:
        target.mkdir(parents=True)
        fill(target)
    before = content(tmp_path)
    with pytest.raises(InputError if isinstance(failure, (OSError, InputError)) else type(failure)) as caught:
        with staged(target, overwrite=True) as staging:
            fill(staging.path, "second")
            raise failure
    assert content(tmp_path) == before
    assert (tmp_path / "deep").exists() == exists
    if isinstance(failure, OSError):
        assert str(caught.value).startswith(f"{target} cannot be written (No space left on device)")


def test_folders_that_were_there_stay(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(RuntimeError), staged(tmp_path / "mine" / "new" / "artifact", overwrite=False):
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


def test_an_existing_artifact_is_refused(artifact):
    before = content(artifact)
    with (
        pytest.raises(InputError, match="exists already: give --overwrite"),
        staged(artifact, overwrite=False),
    ):
        pytest.fail("no work may be done")
    assert content(artifact) == before


def test_an_existing_artifact_is_replaced_whole(artifact):
    (artifact / "old.txt").write_text("old")
    with staged(artifact, overwrite=True) as staging:
        assert (artifact / "old.txt").exists()
        fill(staging.path, "second")
    assert set(content(artifact)) == {*FILES, MANIFEST}
    assert (artifact / SAMPLER).read_text() == f"second {SAMPLER}"
    assert list(artifact.parent.iterdir()) == [artifact]


def test_a_damaged_artifact_may_be_replaced(artifact):
    (artifact / MANIFEST).write_text("{")
    (artifact / SAMPLER).unlink()
    with staged(artifact, overwrite=True) as staging:
        fill(staging.path, "second")
    assert read_artifact(artifact)


def test_an_empty_folder_may_be_replaced(tmp_path):
    target = tmp_path / "empty"
    target.mkdir()
    with pytest.raises(InputError, match="exists already"):
        check_target(target, overwrite=False)
    with staged(target, overwrite=True) as staging:
        fill(staging.path)
    assert read_artifact(target)


@pytest.mark.parametrize("kind", ["file", "folder", "foreign manifest", "no manifest", "link", "broken link"])
def test_overwrite_replaces_nothing_else(artifact, tmp_path, kind):
    target = tmp_path / "target"
    if kind == "file":
        target.write_text("mine")
    elif "link" in kind:
        target.symlink_to(artifact if kind == "link" else tmp_path / "none")
    else:
        target.mkdir()
        (target / "thesis.tex").write_text("mine")
        if kind == "foreign manifest":
            (target / MANIFEST).write_text('{"name": "a browser extension"}')
        elif kind == "no manifest":
            (target / SAMPLER).write_text("mine")
    before = content(tmp_path)
    with pytest.raises(InputError, match=f"{target} is (not an artifact|a symbolic link)"):
        with staged(target, overwrite=True):
            pytest.fail("no work may be done")
    with pytest.raises(InputError, match=f"{target} exists already"):
        check_target(target, overwrite=False)
    assert content(tmp_path) == before
    assert target.is_symlink() == ("link" in kind)


def test_a_target_that_comes_to_be_meanwhile_is_kept(tmp_path):
    target = tmp_path / "artifact"
    with pytest.raises(InputError, match="exists already"), staged(target, overwrite=False) as staging:
        fill(staging.path, "second")
        target.mkdir()
        fill(target, "first")
    assert (target / SAMPLER).read_text() == f"first {SAMPLER}"
    assert list(tmp_path.iterdir()) == [target]


def test_kept_under_another_name(tmp_path, artifact):
    failed = tmp_path / "artifact-FAILED"
    before = content(artifact)
    for text in ("second", "third"):
        with staged(artifact, overwrite=True) as staging:
            fill(staging.path, text)
            staging.keep_as(failed)
        assert (failed / SAMPLER).read_text() == f"{text} {SAMPLER}"
    assert content(artifact) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact", "artifact-FAILED"]


def test_kept_under_a_name_that_is_taken_by_something_else(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with (
        pytest.raises(InputError, match="is not an artifact"),
        staged(tmp_path / "new", overwrite=False) as staging,
    ):
        staging.keep_as(taken)
    assert content(tmp_path) == {"taken": b"mine"}


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_a_failure_while_replacing_puts_the_old_one_back(artifact, monkeypatch, failure):
    before = content(artifact)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if target == artifact and not self.name.endswith("-old"):
            raise failure
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises((InputError, KeyboardInterrupt)), staged(artifact, overwrite=True) as staging:
        fill(staging.path, "second")
    assert content(artifact) == before
    assert list(artifact.parent.iterdir()) == [artifact]


@pytest.mark.parametrize("target", ["/proc/ddgan/artifact", "/proc/artifact", "/dev/null/artifact"])
def test_a_place_that_cannot_be_written(target):
    with (
        pytest.raises(InputError, match=f"{target} cannot be written"),
        staged(Path(target), overwrite=False),
    ):
        pytest.fail("no work may be done")


def test_a_name_that_cannot_be_written(tmp_path):
    for overwrite in (False, True):
        with pytest.raises(InputError, match="cannot be written"):
            check_target(tmp_path / ("x" * 300), overwrite)
    longest = tmp_path / ("x" * 255)
    with staged(longest, overwrite=False) as staging:
        fill(staging.path)
    assert read_artifact(longest)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB; where none can be mounted, its test is skipped."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if sys.platform != "linux" or os.getuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_half_way(small_disk):
    target = small_disk / "deep" / "artifact"
    with pytest.raises(InputError) as caught, staged(target, overwrite=False) as staging:
        fill(staging.path)
        (staging.path / "more.bin").write_bytes(bytes(1_000_000))
    assert str(caught.value).startswith(f"{target} cannot be written (No space left on device): free space")
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_leaves_no_part_of_a_file(small_disk):
    target = small_disk / "deep" / "grid.png"
    with pytest.raises(InputError, match=r"grid\.png cannot be written \(No space left on device\)"):
        with written_whole(target) as path:
            path.write_bytes(bytes(1_000_000))
    assert list(small_disk.iterdir()) == []


INTERRUPTED = """
import sys, time
from pathlib import Path
from ddgan_deploy.artifact.staging import staged
from ddgan_deploy.command import run

def main(argv):
    with staged(Path(argv[0]), overwrite=False) as staging:
        (staging.path / "weights.bin").write_bytes(bytes(1000))
        print("half-way", flush=True)
        time.sleep(60)

sys.exit(run(main, sys.argv[1:]))
"""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(tmp_path, kind):
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "deep" / "artifact")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half-way\n"
        process.send_signal(kind)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "error: interrupted\n"
    assert list(tmp_path.iterdir()) == []


# Single files.


def test_a_file_appears_whole(tmp_path):
    target = tmp_path / "deep" / "grid.png"
    with written_whole(target) as path:
        assert path.suffix == ".png"
        path.write_bytes(b"new")
        assert not target.exists()
    assert content(tmp_path) == {"deep/grid.png": b"new"}
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask()


@pytest.mark.parametrize("failure", [RuntimeError(), OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_file_that_fails_half_way(tmp_path, failure):
    old = tmp_path / "old.png"
    old.write_bytes(b"old")
    for target in (old, tmp_path / "deep" / "deeper" / "new.png"):
        with pytest.raises((InputError, RuntimeError, KeyboardInterrupt)), written_whole(target) as path:
            path.write_bytes(b"half")
            raise failure
    assert content(tmp_path) == {"old.png": b"old"}
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("target", ["/proc/ddgan/x.png", "/dev/null/x.png"])
def test_a_file_that_cannot_be_written(target):
    with pytest.raises(InputError, match=f"{target} cannot be written"), written_whole(Path(target)):
        pytest.fail("no work may be done")


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "\N{GRINNING FACE}" * 62 + ".png", "a." + "\u4e00" * 84])
def test_the_longest_name_of_a_file(tmp_path, name):
    target = tmp_path / name
    with written_whole(target) as path:
        path.write_bytes(b"new")
    assert target.read_bytes() == b"new"
