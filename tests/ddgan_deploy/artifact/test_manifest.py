# ruff: noqa: PT012, SIM117 - what is tested is a block
"""An artifact exists whole or not at all, and a damaged one is refused in one line."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ddgan_deploy.artifact.manifest import (
    MANIFEST,
    SAMPLER,
    SERVED,
    WEIGHTS,
    CheckpointInfo,
    GraphInfo,
    Manifest,
    TensorInfo,
    write_manifest,
)
from ddgan_deploy.artifact.reading import file_infos, read_artifact, read_damaged
from ddgan_deploy.artifact.staging import check_target, staged
from ddgan_deploy.cli import sample
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.family import FAMILY
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.families.registry import info_of, model_and_sampling
from ddgan_deploy.files import written_whole
from ddgan_deploy.sampler import Probe

FILES = (SAMPLER, SERVED, WEIGHTS)
MODEL, SAMPLING = GeneratorConfig(8, 1, 8, (1, 2), 1, 4, 4, 1, (4,)), Schedule(2)


def manifest(folder: Path) -> Manifest:
    image = ("batch", 1, 8, 8)
    sampler = GraphInfo(
        (
            TensorInfo("x_T", "float32", image),
            TensorInfo("z", "float32", ("batch", 2, 4)),
            TensorInfo("noise", "float32", ("batch", 1, 1, 8, 8)),
        ),
        (TensorInfo("x_0", "float32", image),),
        5,
    )
    served = GraphInfo(
        (TensorInfo("seed", "int64", ("batch", 1)),), (TensorInfo("image", "uint8", ("batch", 8, 8, 1)),), 5
    )
    return Manifest(
        format_version=2,
        created="2025-01-01T00:00:00+00:00",
        checkpoint=CheckpointInfo("netG.pth", "0" * 64, "ema", 7),
        family=info_of(FAMILY, MODEL, SAMPLING),
        sampler=FAMILY.sampler(MODEL, SAMPLING),
        probes=FAMILY.probes(MODEL, SAMPLING),
        steps=2,
        precision="fp32",
        kept_fp32=(),
        graphs={SAMPLER: sampler, SERVED: served},
        versions={"ddgan_deploy": "0"},
        parity=None,
        facts=FAMILY.facts(MODEL, SAMPLING),
        files=file_infos(folder, list(FILES)),
    )


def fill(folder: Path, text: str = "first") -> None:
    """The files of an artifact, which only look like one."""
    for name in FILES:
        (folder / name).write_text(f"{text} {name}")
    write_manifest(folder, manifest(folder))


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    folder.mkdir()
    fill(folder)
    return folder


def test_a_manifest_of_before_is_read(artifact):
    """Format 1 grew: what an older export did not write is what it meant."""
    written = of_format_1(json.loads((artifact / MANIFEST).read_text()))
    for name in ("serving", "cpu_parity", "assumed"):
        del written[name]
    step = {"step": 0, "t": 0, "x0_max_abs": 1e-6, "x0_psnr": 99, "x_prev_max_abs": 1e-6, "x_prev_psnr": 99}
    written["parity"] = {"engine": "onnxruntime", "seeds": [0], "steps": [step], "gates": [], "seconds": 1}
    (artifact / MANIFEST).write_text(json.dumps(written))
    read = read_artifact(artifact).manifest
    assert read.assumed == () and read.parity is not None
    rows = [(row.place, row.value, row.column, row.max_abs, row.scale) for row in read.parity.probes]
    assert rows == [("step 0 (t=0)", "x0", "x0", 1e-6, 1), ("step 0 (t=0)", "x_0", "x_prev", 1e-6, 1)]


def test_a_manifest_of_format_1_says_what_one_of_format_2_says(artifact):
    of_today = read_artifact(artifact).manifest
    (artifact / MANIFEST).write_text(json.dumps(of_format_1(json.loads((artifact / MANIFEST).read_text()))))
    read = read_artifact(artifact).manifest
    assert read.sampler == of_today.sampler and read.facts == of_today.facts
    assert read.family == of_today.family
    # The op that makes a state had another name.
    assert [replace_node(probe) for probe in read.probes] == [replace_node(probe) for probe in of_today.probes]
    assert model_and_sampling(read.family) == (MODEL, SAMPLING)


def replace_node(probe: Probe) -> Probe:
    return dataclasses.replace(probe, node=probe.node.replace("PosteriorSample", "ReverseStep"))


def of_format_1(manifest: dict[str, Any]) -> dict[str, Any]:
    """As it was written then."""
    family = manifest["family"]
    new = ("family", "sampler", "probes", "facts")
    kept = {name: value for name, value in manifest.items() if name not in new}
    return {**kept, "format_version": 1, "generator": family["model"], "schedule": family["sampling"]}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_artifact(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert len(message) < 600
    return message


# Reading.


def test_a_whole_artifact_is_read(artifact):
    assert read_artifact(artifact).manifest == manifest(artifact)
    assert read_damaged(artifact)[1] == []


def test_absent(tmp_path):
    assert "does not exist: give a folder that ddgan-export wrote" in refusal(tmp_path / "none")


def test_name_that_no_folder_can_have(tmp_path):
    with pytest.raises(InputError, match="give a folder that ddgan-export wrote"):
        read_artifact(tmp_path / ("x" * 300))


def test_a_file_or_another_folder(tmp_path, artifact):
    assert f"has no readable {MANIFEST}" in refusal(tmp_path)
    assert f"has no readable {MANIFEST}" in refusal(artifact / SAMPLER)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "truncated", "longer", "changed", "folder"])
def test_a_damaged_file_is_named(artifact, name, damage):
    path = artifact / name
    whole = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"truncated": whole[:-1], "longer": whole + b"x", "changed": b"F" + whole[1:]}[damage])
    assert name in refusal(artifact)
    if path.is_file():
        assert read_damaged(artifact)[1] == [name]
    else:
        with pytest.raises(InputError, match=f"{name} is missing: export again"):
            read_damaged(artifact)


def test_sizes_alone_may_be_checked(artifact):
    whole = (artifact / WEIGHTS).read_bytes()
    (artifact / WEIGHTS).write_bytes(b"F" + whole[1:])
    assert read_artifact(artifact, check_files=False)
    (artifact / WEIGHTS).write_bytes(whole[:-1])
    with pytest.raises(InputError, match=WEIGHTS):
        read_artifact(artifact, check_files=False)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "{}", "{}{}", "[" * 100_000, "\x00", "hello"])
def test_a_damaged_manifest(artifact, text):
    (artifact / MANIFEST).write_text(text)
    assert f"{MANIFEST} is damaged" in refusal(artifact)


def test_a_manifest_that_is_no_text(artifact):
    (artifact / MANIFEST).write_bytes(b"\xff\xfe\x80")
    assert f"has no readable {MANIFEST}" in refusal(artifact)


def test_a_manifest_truncated_anywhere(artifact):
    whole = (artifact / MANIFEST).read_bytes().rstrip()
    for length in range(0, len(whole), 97):
        (artifact / MANIFEST).write_bytes(whole[:length])
        assert "is damaged" in refusal(artifact)


FIELDS = (
    *("format_version", "created", "checkpoint", "family", "sampler", "probes", "steps", "precision"),
    *("kept_fp32", "graphs", "versions", "parity", "files"),
    *("checkpoint.sha256", "family.model", "sampler.steps"),
    *(f"graphs.{SAMPLER}", f"files.{WEIGHTS}"),
)


def changed(folder: Path, path: str, value: Any = ...) -> None:
    """Sets one field of the manifest, or removes it."""
    tree = json.loads((folder / MANIFEST).read_text())
    first, _, last = path.partition(".")
    place, key = (tree[first], last) if last else (tree, first)
    if value is ...:
        del place[key]
    else:
        place[key] = value
    (folder / MANIFEST).write_text(json.dumps(tree))


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_missing_is_named(artifact, field):
    changed(artifact, field)
    message = refusal(artifact)
    assert "is damaged" in message
    assert field.rpartition(".")[2] in message or field == "files" or "lists no" in message


@pytest.mark.parametrize("value", [-1, None, "x", [], {"x": 1}])
@pytest.mark.parametrize("field", ["steps", "family", "sampler", "family.model", "sampler.steps", "graphs"])
def test_a_field_of_another_kind(artifact, field, value):
    if (field, value) in (("steps", -1), ("family.model", {"x": 1})):
        pytest.skip("of its kind")
    changed(artifact, field, value)
    assert "is damaged" in refusal(artifact)


def edited(folder: Path, path: tuple[str | int, ...], value: Any) -> None:
    """Sets one value deep in the manifest."""
    tree = json.loads((folder / MANIFEST).read_text())
    place = tree
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (folder / MANIFEST).write_text(json.dumps(tree))


NO_NOISE = [
    {"name": "x_T", "dtype": "float32", "shape": ["batch", 1, 8, 8]},
    {"name": "z", "dtype": "float32", "shape": ["batch", 2, 4]},
]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("steps",), 3, "steps 3, but its sampler has 2"),
        (("family", "sampling", "steps"), 3, "steps 2, but its sampling has 3"),
        (("probes",), [], "its probes do not end in x_0"),
        (("sampler", "draws", 1, "shape", 0), 5, "sampler input z is float32 [batch, 2, 4], not float32 [batch, 2, 5]"),
        (("sampler", "image", 0), 3, "sampler output x_0 is float32 [batch, 1, 8, 8], not float32 [batch, 3"),
        (("graphs", SAMPLER, "inputs", 0, "shape", 3), 9, "sampler input x_T is float32 [batch, 1, 8, 9], not"),
        (("graphs", SAMPLER, "inputs", 1, "shape", 0), 1, "sampler input z is float32 [1, 2, 4], not"),
        (
            ("graphs", SAMPLER, "inputs", 2, "dtype"),
            "float16",
            "sampler input noise is float16 [batch, 1, 1, 8, 8], not",
        ),
        (("graphs", SAMPLER, "inputs"), NO_NOISE, "sampler input noise is absent, not float32 [batch, 1, 1, 8, 8]"),
        (("graphs", SAMPLER, "outputs", 0, "name"), "x", "sampler output x_0 is absent, not"),
        (
            ("graphs", SERVED, "inputs", 0, "dtype"),
            "int32",
            "served input seed is int32 [batch, 1], not int64 [batch, 1]",
        ),
        (
            ("graphs", SERVED, "outputs", 0, "shape"),
            ["batch", 1, 8, 8],
            "served output image is uint8 [batch, 1, 8, 8], not",
        ),
        (("serving", "max_batch"), -1, "--max-batch -1 is out of range: give 1..1024"),
        (("serving", "max_batch"), 1025, "--max-batch 1025 is out of range"),
        (("serving", "accelerator"), "cuda", "--accelerator cuda is of the onnxruntime backend"),
    ],
)
def test_a_manifest_that_contradicts_itself(artifact, path, value, says):
    edited(artifact, path, value)
    message = refusal(artifact)
    assert message.startswith(f"{artifact / MANIFEST} is damaged ({says}") and message.endswith("): export again")
    with pytest.raises(InputError) as caught:
        read_damaged(artifact)
    assert str(caught.value) == message


def test_steps_that_were_replaced_everywhere(artifact):
    text = (artifact / MANIFEST).read_text()
    assert text.count('"steps": 2') == 3
    (artifact / MANIFEST).write_text(text.replace('"steps": 2', '"steps": 3'))
    edited(artifact, ("sampler", "draws", 1, "streams", "count"), 3)
    assert "sampler input z is float32 [batch, 2, 4], not float32 [batch, 3, 4]" in refusal(artifact)


def test_a_graph_of_one_step_takes_no_noise(artifact):
    one_step = Schedule(1)
    edited(artifact, ("family", "sampling", "steps"), 1)
    edited(artifact, ("sampler",), dataclasses.asdict(FAMILY.sampler(MODEL, one_step)))
    edited(artifact, ("probes",), [dataclasses.asdict(probe) for probe in FAMILY.probes(MODEL, one_step)])
    edited(artifact, ("steps",), 1)
    edited(artifact, ("graphs", SAMPLER, "inputs", 1, "shape", 1), 1)
    assert "sampler input noise is float32 [batch, 1, 1, 8, 8], not absent" in refusal(artifact)
    edited(artifact, ("graphs", SAMPLER, "inputs"), NO_NOISE)
    edited(artifact, ("graphs", SAMPLER, "inputs", 1, "shape", 1), 1)
    assert read_artifact(artifact).manifest.steps == 1


def test_another_format_version(artifact):
    changed(artifact, "format_version", 3)
    assert "has format version 3, this ddgan-deploy reads 1 and 2: export again" in refusal(artifact)


def test_another_format_version_with_other_fields(artifact):
    (artifact / MANIFEST).write_text('{"format_version": 7, "model": {}}')
    assert "has format version 7" in refusal(artifact)


@pytest.mark.parametrize("damage", ["absent", "manifest", "file", "version"])
def test_the_command_says_it_in_one_line(artifact, tmp_path, capsys, damage):
    folder = tmp_path / "none" if damage == "absent" else artifact
    if damage == "manifest":
        (artifact / MANIFEST).write_text("{")
    elif damage == "file":
        (artifact / WEIGHTS).unlink()
    elif damage == "version":
        changed(artifact, "format_version", 3)
    assert sample.main([str(folder), "--out", str(tmp_path / "deep" / "grid.png")]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert not (tmp_path / "deep").exists()


# Writing.


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
