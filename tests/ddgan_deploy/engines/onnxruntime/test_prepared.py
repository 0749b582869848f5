"""Prepared graphs: the same images, made once, not used where they might not be right, mapped by all processes."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ddgan_deploy.artifact.manifest import SERVED, WEIGHTS, write_manifest
from ddgan_deploy.artifact.reading import file_infos, read_artifact
from ddgan_deploy.cli import sample
from ddgan_deploy.data import DIGITS_STEPS, digits_checkpoint
from ddgan_deploy.engines import open_artifact, open_engine
from ddgan_deploy.engines.onnxruntime import engine as engine_module
from ddgan_deploy.engines.onnxruntime import prepared
from ddgan_deploy.errors import InputError
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.sampler import Knob

ENGINES = ("onnxruntime", "onnxruntime-portable")
SEEDS = range(3)
CHILD = """
import fcntl, sys
from types import SimpleNamespace
from ddgan_deploy.engines import open_artifact
from ddgan_deploy.engines.onnxruntime import engine, prepared
def flock(*args):
    print("locks", flush=True)
    fcntl.flock(*args)
prepared.fcntl = SimpleNamespace(flock=flock, LOCK_EX=fcntl.LOCK_EX)
made, new_session = [], engine.new_session
engine.new_session = lambda *args, **options: made.append(1) or new_session(*args, **options)
with open_artifact(sys.argv[1], "onnxruntime-portable", 1) as opened:
    print(int(opened.generate(range(3)).sum()), len(made), flush=True)
    sys.stdin.read()
"""
"""Draws, says before that it locks, tells a sum and how many sessions were made of the artifact's own file, waits."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(prepared.VARIABLE, str(tmp_path / "prepared"))
    return tmp_path / "prepared"


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    out = tmp_path_factory.mktemp("loop") / "digits"
    options = ExportOptions(digits_checkpoint(), DIGITS_STEPS, out=out, engine="none", loop="always", verify=False)
    return export(options).artifact.path


def images(artifact, engine="onnxruntime-portable"):
    with open_artifact(artifact, engine, 1) as opened:
        return opened.generate(SEEDS)


def fresh_images(artifact, engine="onnxruntime-portable"):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(prepared.VARIABLE, raising=False)
        return images(artifact, engine)


def only(folder):
    """The one thing that a folder holds."""
    (found,) = folder.iterdir()
    return found


def contents(folder):
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*.*")}


@pytest.fixture
def counted(monkeypatch):
    """Grows with every session that is made of an artifact's own file."""
    made, new_session = [], engine_module.new_session
    monkeypatch.setattr(engine_module, "new_session", lambda *args, **kw: made.append(args) or new_session(*args, **kw))
    return made


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8", "one Loop"])
def test_the_same_bits_and_made_once(
    kind, engine, exports, biggan, library, folder, counted, request, capsys, monkeypatch
):
    artifact = request.getfixturevalue("loop") if kind == "one Loop" else exports.golden(biggan, kind).path
    expected = fresh_images(artifact, engine)
    counted.clear()
    np.testing.assert_array_equal(images(artifact, engine), expected)
    assert len(counted) == 1 and not capsys.readouterr().err
    before = contents(folder)
    assert {path.name for path in before} == {SERVED, WEIGHTS, "prepared.json"}
    # Who finds it waits for nobody.
    monkeypatch.setattr(prepared, "_locked", None)
    np.testing.assert_array_equal(images(artifact, engine), expected)
    assert len(counted) == 1 and contents(folder) == before
    # All that is large is in the file that is mapped.
    assert (only(folder) / WEIGHTS).stat().st_size > 0.9 * (artifact / WEIGHTS).stat().st_size
    assert [path.stat().st_mode & 0o777 for path in (folder, only(folder))] == [0o700, 0o700]


def test_an_artifact_that_is_still_being_exported_has_none(exported, folder):
    artifact = read_artifact(exported)
    unfinished = dataclasses.replace(artifact, manifest=dataclasses.replace(artifact.manifest, files={}))
    with open_engine(unfinished, "onnxruntime-portable", 1) as opened:
        opened.generate(SEEDS)
    assert not list(folder.iterdir())


def test_each_engine_has_its_own(exported, library, folder):
    for engine in ENGINES:
        images(exported, engine)
    assert len(list(folder.iterdir())) == 2


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x40
    file.write_bytes(content)


def of_another(record):
    """Says that it was made of another graph."""
    told = json.loads(record.read_text())
    told["origin"]["graph"] = "0" * 64
    record.write_text(json.dumps(told))


DAMAGES = {
    "a flipped byte": lambda place: flip(place / WEIGHTS),
    "weights cut short": lambda place: os.truncate(place / WEIGHTS, 5000),
    "a changed graph": lambda place: flip(place / SERVED),
    "no weights": lambda place: (place / WEIGHTS).unlink(),
    "no record": lambda place: (place / "prepared.json").unlink(),
    "a record cut short": lambda place: os.truncate(place / "prepared.json", 40),
    "of another graph": lambda place: of_another(place / "prepared.json"),
    "a file in its place": lambda place: (shutil.rmtree(place), place.touch()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_made_again(exported, folder, counted, damage, capsys):
    expected = images(exported)
    place = only(folder)
    weights = (place / WEIGHTS).read_bytes()
    damage(place)
    np.testing.assert_array_equal(images(exported), expected)
    assert len(counted) == 2 and not capsys.readouterr().err
    assert only(folder) == place and (place / WEIGHTS).read_bytes() == weights
    np.testing.assert_array_equal(images(exported), expected)
    assert len(counted) == 2


def test_a_place_of_another_user_is_not_used(exported, folder, counted, monkeypatch):
    expected = images(exported)
    place, lstat = only(folder), Path.lstat

    def by_another(path):
        found = lstat(path)
        return os.stat_result((*found[:4], found.st_uid + 1, *found[5:])) if path == place else found

    monkeypatch.setattr(Path, "lstat", by_another)
    np.testing.assert_array_equal(images(exported), expected)
    assert len(counted) == 2


def with_other_weights(artifact, copy):
    """As --refit leaves it: the same graph, other weights."""
    shutil.copytree(artifact, copy)
    values = np.fromfile(copy / WEIGHTS, np.float32)
    (values * np.float32(0.5)).tofile(copy / WEIGHTS)
    manifest = read_artifact(artifact).manifest
    files = {**manifest.files, **file_infos(copy, [WEIGHTS])}
    write_manifest(copy, dataclasses.replace(manifest, files=files))
    return copy


def test_other_weights_are_another_graph(exported, folder, tmp_path):
    first = images(exported)
    refitted = with_other_weights(exported, tmp_path / "refitted")
    second = images(refitted)
    assert (first != second).any()
    np.testing.assert_array_equal(second, fresh_images(refitted))
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("change", ["versions", "processor", "DDGAN_ISA"])
def test_another_version_or_processor_is_another_graph(exported, folder, counted, monkeypatch, change):
    images(exported)
    before = only(folder)
    if change == "versions":
        monkeypatch.setattr(prepared.onnxruntime, "__version__", "99")
    elif change == "processor":
        monkeypatch.setattr(prepared, "instruction_sets", lambda: ("others",))
    else:
        monkeypatch.setenv("DDGAN_ISA", "generic")
    images(exported)
    assert len(counted) == 2
    # What another version made will not be asked for again; another processor may share the folder.
    assert before.exists() == (change != "versions") and len(list(folder.iterdir())) == 1 + before.exists()


def test_what_draws_other_images_is_not_published(exported, folder, monkeypatch, capsys):
    open_optimized = prepared.optimized_session

    def written_wrong(model, *others):
        flip(model.with_name(WEIGHTS))
        return open_optimized(model, *others)

    monkeypatch.setattr(prepared, "optimized_session", written_wrong)
    with open_artifact(exported, "onnxruntime-portable", 1) as opened:
        for _ in range(2):
            np.testing.assert_array_equal(opened.generate(SEEDS), fresh_images(exported))
    said = capsys.readouterr().err
    assert said == "note: what was prepared is not used, since it does not draw the same images\n"
    assert not list(folder.iterdir())


def test_what_does_not_open_is_not_published(exported, folder, monkeypatch, capsys):
    open_optimized = prepared.optimized_session

    def cut_short(model, *others):
        os.truncate(model.with_name(WEIGHTS), 5000)
        return open_optimized(model, *others)

    monkeypatch.setattr(prepared, "optimized_session", cut_short)
    np.testing.assert_array_equal(images(exported), fresh_images(exported))
    assert "it does not open (ONNX Runtime cannot load" in capsys.readouterr().err
    assert not list(folder.iterdir())


def test_an_artifact_that_changes_meanwhile_is_not_published(exported, folder, tmp_path, capsys):
    copy = shutil.copytree(exported, tmp_path / "copy")
    with open_artifact(copy, "onnxruntime-portable", 1) as opened:
        flip(copy / WEIGHTS)
        opened.generate(SEEDS)
    assert f"{copy} has changed meanwhile" in capsys.readouterr().err and not list(folder.iterdir())


def test_every_knob_that_has_values_to_try_is_tried(exported):
    """A weight that only another value of a knob brings in is proven, too."""
    manifest = read_artifact(exported).manifest
    knob = Knob("guidance", "float32", (1,), 0, 9, default=0.0, tried=(1.0, 5.0))
    sampler = dataclasses.replace(manifest.sampler, knobs=(knob,))
    fed = []

    class Told:
        def run(self, _, inputs):
            fed.append(inputs["guidance"].ravel().tolist())
            return [np.zeros(len(inputs["seed"]))]

    assert prepared.draw_alike(sampler, Told(), Told())
    assert fed == [[0.0], [0.0], [1.0, 5.0], [1.0, 5.0]]


def test_what_does_not_run_does_not_draw_alike(exported):
    class Failing:
        def run(self, *_):
            raise RuntimeError("out of memory")

    assert not prepared.draw_alike(read_artifact(exported).manifest.sampler, Failing(), Failing())


def test_a_loop_of_links_is_no_folder(exported, tmp_path, monkeypatch):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.setenv(prepared.VARIABLE, str(tmp_path / "loop"))
    with pytest.raises(InputError, match="which is no folder"):
        open_artifact(exported, "onnxruntime-portable")


def started(artifact):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, artifact], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def mapped(pid):
    """Bytes of the mapped weights in a process: all, and those that no other one has."""
    whole, alone, inside = 0, 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(WEIGHTS)
        elif inside and line.startswith("Rss:"):
            whole += int(line.split()[1]) << 10
        elif inside and line.startswith("Private_"):
            alone += int(line.split()[1]) << 10
    return whole, alone


def test_of_two_processes_one_makes_it_and_both_map_it(exported, folder):
    expected = int(fresh_images(exported).sum())
    folder.mkdir(0o700)
    handle = os.open(folder, os.O_RDONLY)
    # Until both have come to it.
    fcntl.flock(handle, fcntl.LOCK_EX)
    children = [started(exported) for _ in range(2)]
    try:
        assert [child.stdout.readline() for child in children] == ["locks\n"] * 2
        os.close(handle)
        told = [child.stdout.readline().split() for child in children]
        assert sorted(told) == [[str(expected), "0"], [str(expected), "1"]]
        size = (only(folder) / WEIGHTS).stat().st_size
        for child in children:
            whole, alone = mapped(child.pid)
            assert whole > 0.9 * size and alone == 0
    finally:
        for child in children:
            child.communicate()


def test_a_read_only_folder_is_read(exported, folder, counted, monkeypatch, capsys):
    expected = images(exported)

    def read_only(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(prepared, "scratch_folder", read_only)
    np.testing.assert_array_equal(images(exported), expected)
    assert len(counted) == 1
    shutil.rmtree(only(folder))
    np.testing.assert_array_equal(images(exported), expected)
    assert len(counted) == 2 and not list(folder.iterdir())
    assert f"note: {folder} cannot be used (Read-only file system)" in capsys.readouterr().err


def test_a_full_disk_only_costs_time(exported, folder, monkeypatch, capsys):
    new_session = engine_module.new_session

    def full(*args, optimized=None, **options):
        if optimized is not None:
            raise InputError("ONNX Runtime cannot load it: no space left on device")
        return new_session(*args, **options)

    monkeypatch.setattr(engine_module, "new_session", full)
    np.testing.assert_array_equal(images(exported), fresh_images(exported))
    assert "cannot be written" in capsys.readouterr().err and not list(folder.iterdir())


def test_a_folder_that_cannot_be_made_is_none(exported, monkeypatch, capsys):
    monkeypatch.setenv(prepared.VARIABLE, "/proc/prepared")
    np.testing.assert_array_equal(images(exported), fresh_images(exported))
    assert "note: there is no /proc/prepared" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_folder_that_others_may_write_into_is_refused(exported, folder, tmp_path, mode, capsys):
    folder.mkdir()
    folder.chmod(mode)
    assert sample.main([str(exported), "--seeds", "0", "--portable", "--out", str(tmp_path / "a.png")]) == 2
    fix = "chmod go-w it; or name a folder of your own, or unset DDGAN_PREPARED"
    said = f"DDGAN_PREPARED is {folder}, which others may write into: {fix}\n"
    assert capsys.readouterr().err.endswith(said)
    assert not (tmp_path / "a.png").exists()


def test_a_folder_of_another_user_is_refused(exported, folder, monkeypatch):
    folder.mkdir(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(InputError, match="a folder of another user, who decides over the images then: name a folder"):
        open_artifact(exported, "onnxruntime-portable")


def test_a_file_is_no_folder(exported, folder):
    folder.touch()
    with pytest.raises(InputError, match="which is no folder: name a folder of your own"):
        open_artifact(exported, "onnxruntime-portable")
