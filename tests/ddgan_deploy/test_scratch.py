"""What a killed process leaves behind goes with the next run, and nothing else does."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ddgan_deploy import scratch
from ddgan_deploy.artifact.staging import staged
from ddgan_deploy.errors import InputError
from ddgan_deploy.files import folder_written_whole, written_whole
from ddgan_deploy.scratch import remove_dead, scratch_folder

WORKS = """
import sys
from pathlib import Path
from ddgan_deploy.artifact.staging import staged
from ddgan_deploy.files import folder_written_whole, written_whole
from ddgan_deploy.scratch import scratch_folder

kind, target = sys.argv[1], Path(sys.argv[2])
if kind == "artifact":
    block = staged(target, overwrite=False)
elif kind == "temporary":
    block = scratch_folder("ddgan-bench-", target.parent)
else:
    block = {"folder": folder_written_whole, "file": written_whole}[kind](target)
with block as made:
    if kind == "file":
        made.write_bytes(b"half")
    else:
        (getattr(made, "path", made) / "weights.bin").write_bytes(b"half")
    print("half-way", flush=True)
    sys.stdin.readline()
"""
KINDS = ("artifact", "folder", "file", "temporary")


@contextmanager
def half_way(kind: str, target: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of its work, which goes on at a line of input."""
    command = [sys.executable, "-c", WORKS, kind, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half-way\n"
        yield process


def killed(kind: str, target: Path) -> None:
    with half_way(kind, target) as process:
        process.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def work(kind: str, target: Path) -> None:
    """The same in this process, to its end."""
    if kind == "artifact":
        with staged(target, overwrite=False) as staging:
            (staging.path / "weights.bin").write_bytes(b"whole")
    elif kind == "temporary":
        with scratch_folder("ddgan-bench-", target.parent):
            pass
    else:
        with {"folder": folder_written_whole, "file": written_whole}[kind](target) as made:
            (made if kind == "file" else made / "weights.bin").write_bytes(b"whole")


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_process_left_goes_with_the_next_run(tmp_path, kind):
    killed(kind, tmp_path / "digits")
    (left,) = names(tmp_path)
    assert left.startswith("ddgan-bench-" if kind == "temporary" else ".digits-")
    work(kind, tmp_path / "digits")
    assert names(tmp_path) == ([] if kind == "temporary" else ["digits"])


def test_the_next_run_may_be_of_another_kind_and_name(tmp_path):
    for kind in KINDS:
        killed(kind, tmp_path / "digits")
    assert len(names(tmp_path)) > 0
    work("artifact", tmp_path / "other")
    assert names(tmp_path) == ["other"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_living_process_works_in_stays(tmp_path, kind):
    with half_way(kind, tmp_path / "first") as process:
        (before,) = names(tmp_path)
        work("artifact", tmp_path / "second")
        assert names(tmp_path) == sorted([before, "second"])
        process.communicate("\n", timeout=30)
    assert process.returncode == 0
    assert names(tmp_path) == (["second"] if kind == "temporary" else ["first", "second"])


REPLACES = """
import os, signal, sys
from pathlib import Path
from ddgan_deploy.files import folder_written_whole

target, when = Path(sys.argv[1]), sys.argv[2]
rename = Path.rename

def killed(self, other):
    if self.name == "content" and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    rename(self, other)
    if self.name == "content":
        os.kill(os.getpid(), signal.SIGKILL)

Path.rename = killed
with folder_written_whole(target) as folder:
    (folder / "text").write_text("new")
"""


@pytest.mark.parametrize(("when", "text"), [("before", "old"), ("after", "new")])
def test_an_older_folder_is_never_lost(tmp_path, when, text):
    """Killed between the two renames of a replacement, or before the old one is removed."""
    target = tmp_path / "digits"
    target.mkdir()
    (target / "text").write_text("old")
    done = subprocess.run([sys.executable, "-c", REPLACES, str(target), when], check=False)
    assert done.returncode == -signal.SIGKILL and len(names(tmp_path)) == (1 if when == "before" else 2)
    work("artifact", tmp_path / "other")
    assert names(tmp_path) == ["digits", "other"]
    assert (target / "text").read_text() == text


def test_what_cannot_come_back_is_kept(tmp_path):
    target = tmp_path / "digits"
    target.mkdir()
    (target / "text").write_text("old")
    subprocess.run([sys.executable, "-c", REPLACES, str(target), "before"], check=False)
    work("artifact", tmp_path / "other")
    (target / "text").write_text("older")
    subprocess.run([sys.executable, "-c", REPLACES, str(target), "before"], check=False)
    target.write_text("in its place")
    for _ in range(2):
        remove_dead(tmp_path)
        (left,) = tmp_path.glob(".digits-*")
        assert next(left.rglob("text")).read_text() in ("older", "new")
        assert len(list(left.rglob("text"))) == 2
    target.unlink()
    remove_dead(tmp_path)
    assert (target / "text").read_text() == "older"
    assert names(tmp_path) == ["digits", "other"]


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    killed("artifact", tmp_path / "digits")
    (left,) = tmp_path.iterdir()
    return left


def test_nothing_else_is_removed(tmp_path, dead, monkeypatch):
    mark = dead / scratch._MARK
    content = mark.read_bytes()
    assert content.strip() == Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    for name in (".mine-a1b2c3d4", "ddgan-mine-a1b2c3d4"):
        (tmp_path / name).mkdir()
    (tmp_path / ".empty-a1b2c3d4").mkdir()
    (tmp_path / ".empty-a1b2c3d4" / mark.name).touch()
    (tmp_path / ".file-a1b2c3d4").write_bytes(content)
    elsewhere = tmp_path / "elsewhere"
    dead.rename(elsewhere)
    (tmp_path / ".link-a1b2c3d4").symlink_to(elsewhere)
    expected = names(tmp_path)
    remove_dead(tmp_path)
    assert names(tmp_path) == expected and (elsewhere / "content" / "weights.bin").exists()
    elsewhere.rename(dead)
    (tmp_path / ".link-a1b2c3d4").unlink()
    expected = names(tmp_path)
    for name, other in (("_BOOT", Path(__file__)), ("_BOOT", tmp_path / "none")):
        with monkeypatch.context() as patched:
            patched.setattr(scratch, name, other)
            remove_dead(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: os.getuid() + 1)
        remove_dead(tmp_path)
    assert names(tmp_path) == expected
    remove_dead(tmp_path)
    assert names(tmp_path) == [name for name in expected if name != dead.name]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EBADF, errno.ENOTSUP])
def test_without_locks_the_work_is_done_and_nothing_removed(tmp_path, dead, monkeypatch, code):
    def refused(file, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refused)
    with staged(tmp_path / "digits", overwrite=False) as staging:
        assert (staging.path.parent / scratch._MARK).read_bytes() == b""
    assert names(tmp_path) == sorted([dead.name, "digits"])


def test_a_place_that_cannot_be_listed_is_no_obstacle(tmp_path, monkeypatch):
    def refused(path):
        raise PermissionError

    monkeypatch.setattr(os, "scandir", refused)
    remove_dead(tmp_path)
    with pytest.raises(InputError, match="cannot be written"), staged(Path("/proc/ddgan/x"), overwrite=False):
        pytest.fail("no work may be done")
