"""ddgan-bulk in one process: whole or absent, gone on with, refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ddgan_deploy.bulk.formats import webdataset
from ddgan_deploy.bulk.plan import Plan, Source
from ddgan_deploy.bulk.run import BulkOptions, bulk
from ddgan_deploy.cli import bulk as command
from ddgan_deploy.engines.cascade import Cascade
from ddgan_deploy.errors import InputError

ARGUMENTS = ("--seeds", "0-19", "--shard-size", "4", "--batch", "2", "--format", "webdataset")


def draw(artifact, out, *others):
    return command.main([str(artifact), "--out", str(out), *ARGUMENTS, *others])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".tar"}


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    """What a run that nothing cuts off leaves."""
    out = tmp_path_factory.mktemp("bulk") / "whole"
    assert draw(toy, out) == 0
    return contents(out)


@pytest.fixture
def ends_at_seed(monkeypatch):
    """Has a run end when it comes to a seed."""

    def end(seed, error):
        generate = Cascade.generate

        def ending(cascade, seeds, **knobs):
            if seed in seeds:
                raise error
            return generate(cascade, seeds, **knobs)

        monkeypatch.setattr(Cascade, "generate", ending)

    return end


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (InputError("wrong"), 2)])
def test_a_run_that_is_cut_off_goes_on(toy, tmp_path, whole, ends_at_seed, monkeypatch, capsys, error, code):
    out = tmp_path / "new" / "out"
    with monkeypatch.context():
        ends_at_seed(10, error)
        assert draw(toy, out) == code
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"error: {str(error) or 'interrupted'}; shards in {out}: 2, go on with --resume"
    assert sorted(path.name for path in out.iterdir()) == ["000000.tar", "000001.tar", "bulk.json", "shards.jsonl"]
    monkeypatch.undo()
    seen = []
    generate = Cascade.generate
    monkeypatch.setattr(
        Cascade, "generate", lambda self, seeds, **knobs: seen.extend(seeds) or generate(self, seeds, **knobs)
    )
    assert draw(toy, out, "--resume") == 0
    assert seen == list(range(8, 20)) and contents(out) == whole
    assert not (out / "shards.jsonl").exists()


def test_a_run_that_is_over_draws_nothing_again(toy, tmp_path, whole, monkeypatch, capsys):
    assert draw(toy, tmp_path / "out") == 0
    first = capsys.readouterr().out
    monkeypatch.setattr(Cascade, "generate", None)
    assert draw(toy, tmp_path / "out", "--resume") == 0
    assert capsys.readouterr().out == first and contents(tmp_path / "out") == whole


def test_resume_begins_where_there_is_nothing(toy, tmp_path, whole):
    assert draw(toy, tmp_path / "out", "--resume") == 0
    assert contents(tmp_path / "out") == whole


def test_a_process_that_is_killed_leaves_whole_shards(toy, tmp_path, whole):
    """What it was writing is absent, and goes when the run goes on."""
    out = tmp_path / "out"
    slow = "import time; from ddgan_deploy.engines.cascade import Cascade as C; draw = C.generate\n"
    slow += "C.generate = lambda self, seeds, **knobs: time.sleep(0.1) or draw(self, seeds, **knobs)\n"
    slow += "from ddgan_deploy.cli.bulk import main; main()"
    process = subprocess.Popen([sys.executable, "-c", slow, str(toy), "--out", str(out), *ARGUMENTS])
    while not (out / "000001.tar").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = contents(out)
    assert 2 <= len(there) < 5 and all(whole[name] == content for name, content in there.items())
    assert draw(toy, out, "--resume") == 0
    assert contents(out) == whole
    assert {path.suffix for path in out.iterdir()} == {".tar", ".json"}


@pytest.fixture
def half(toy, tmp_path, monkeypatch, ends_at_seed):
    """The folder of a run that was cut off after four of five shards."""
    with monkeypatch.context():
        ends_at_seed(16, InputError("wrong"))
        assert draw(toy, tmp_path / "out") == 2
    monkeypatch.undo()
    return tmp_path / "out"


def cut(file):
    os.truncate(file, 100)


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def exchange(file):
    shutil.copy(file.with_name("000002.tar"), file)


@pytest.mark.parametrize("damage", [cut, flip, exchange, os.unlink])
def test_a_shard_that_is_not_as_it_was_is_drawn_again(toy, half, whole, caplog, damage):
    damage(half / "000000.tar")
    assert draw(toy, half, "--resume") == 0
    assert contents(half) == whole


@pytest.mark.parametrize("name", ["webdataset", "png", "npz"])
@pytest.mark.parametrize("joined", [True, False])
def test_a_complete_run_is_looked_at_as_well(toy, tmp_path, name, joined):
    options = BulkOptions(Plan("0-9", format=name, shard_size=4), Source((toy,)), tmp_path / "out")
    options = replace(options, keep_shards=not joined and name == "npz", resume=True)
    files = bulk(options).files
    before = {path: path.read_bytes() for path in options.out.rglob("*") if path.is_file()}
    flip(files[0] if files[0].is_file() else next(files[0].iterdir()).with_name("img00000001.png"))
    assert bulk(options).files == files
    assert {path: path.read_bytes() for path in options.out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "line",
    [
        b'{"number": 4, "name": "0000',
        b"\xff\xfe\x00" * 30,
        b"[" * 200_000,
        b'{"number": 4, "name": "000004.tar", "count": "4", "bytes": 1, "sha256": ""}',
        b'{"number": [4], "name": "000004.tar", "count": 4, "bytes": 1, "sha256": ""}',
        b'{"number": 0, "name": "000000.tar", "count": 20, "bytes": BYTES, "sha256": "SHA"}',
        b'{"number": 4, "name": "000000.tar", "count": 4, "bytes": BYTES, "sha256": "SHA"}',
        b'{"number": 0, "name": "../mine.tar", "count": 4, "bytes": BYTES, "sha256": "SHA"}',
    ],
)
def test_no_line_of_the_log_is_believed(toy, half, whole, line):
    mine = half.with_name("mine.tar")
    shutil.copy(half / "000000.tar", mine)
    first = json.loads((half / "shards.jsonl").read_text().splitlines()[0])
    line = line.replace(b"BYTES", str(first["bytes"]).encode()).replace(b"SHA", first["sha256"].encode())
    log = (half / "shards.jsonl").read_bytes()
    (half / "shards.jsonl").write_bytes(log + line)
    assert draw(toy, half, "--resume") == 0
    assert contents(half) == whole and mine.exists()
    assert not (half / "shards.jsonl").exists()


def test_a_line_that_was_cut_off_does_not_take_the_next_one_with_it(toy, half, whole, ends_at_seed, monkeypatch):
    log = half / "shards.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    with monkeypatch.context():
        ends_at_seed(16, InputError("wrong"))
        assert draw(toy, half, "--resume") == 2
    assert [json.loads(line)["number"] for line in log.read_text().splitlines()] == [0, 1, 2, 3]


def test_a_process_that_was_killed_at_its_first_file(toy, tmp_path, whole):
    """What it leaves is a scratch folder."""
    code = "import os; from pathlib import Path; from ddgan_deploy.files import written_whole as w\n"
    code += f"with w(Path({str(tmp_path / 'out' / 'bulk.json')!r})): os.kill(os.getpid(), 9)"
    (tmp_path / "out").mkdir()
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert list((tmp_path / "out").iterdir())
    assert draw(toy, tmp_path / "out", "--resume") == 0
    assert contents(tmp_path / "out") == whole


def test_shards_that_were_joined_go_when_the_run_was_cut_off_before(toy, tmp_path):
    """Between the record of the whole and the end."""
    out = tmp_path / "out"
    options = BulkOptions(Plan("0-9", shard_size=4), Source((toy,)), out)
    (path,) = bulk(options).files
    (out / "000000.npz").write_bytes(b"x")
    (out / "shards.jsonl").write_text("")
    assert bulk(replace(options, resume=True)).files == (path,)
    assert {each.name for each in out.iterdir()} == {path.name, "bulk.json"}


def test_shards_that_were_kept_can_be_joined_later_but_not_the_other_way_round(toy, tmp_path, capsys):
    arguments = [str(toy), "--seeds", "0-9", "--shard-size", "4", "--out", str(tmp_path / "out"), "--resume"]
    assert command.main([*arguments, "--keep-shards"]) == 0
    assert command.main(arguments) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"samples_10x8x8x3.npz", "bulk.json"}
    assert command.main([*arguments, "--keep-shards"]) == 2
    assert "out are joined: leave out --keep-shards, or give --overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (["--seeds", "0-20"], "seeds 0-19, not 0-20"),
        (["--batch", "3"], "batch 2, not 3"),
        (["--shard-size", "5"], "shard_size 4, not 5"),
        (["--format", "npz"], "format webdataset, not npz"),
        (["--label", "3"], "knobs {}, not {'label': '3'}"),
        (["--set", "gain=1.2345678"], "knobs {}, not {'gain': '1.2345678'}"),
        (["--label", ",".join(["1", "2"] * 10)], "knobs {}, not {'label': 'sha256:"),
        (["--portable"], "engine onnxruntime, not onnxruntime-portable"),
    ],
)
def test_other_options_are_refused(toy, tmp_path, library, capsys, other, says):
    assert draw(toy, tmp_path / "out") == 0
    before = contents(tmp_path / "out")
    assert draw(toy, tmp_path / "out", *other, "--resume") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {tmp_path / 'out'} was begun with ") and says in said
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("place", [4, 6])
def test_a_disk_that_is_full(toy, tmp_path, whole, monkeypatch, capsys, place):
    """Told also where it is at the last batch of a shard, and then that shard is absent."""
    add, out = webdataset._Tar.add, tmp_path / "out"

    def full(tar, batch):
        if place in batch.places:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(tar, batch)

    with monkeypatch.context() as patch:
        patch.setattr(webdataset._Tar, "add", full)
        assert draw(toy, out) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {out / '000001.tar'} cannot be written (No space left on device)")
    assert said.endswith(f"shards in {out}: 1, go on with --resume") and sorted(contents(out)) == ["000000.tar"]
    assert draw(toy, out, "--resume") == 0
    assert contents(out) == whole


def test_another_artifact_is_refused(toy, biggan, exports, tmp_path, capsys):
    assert draw(toy, tmp_path / "out") == 0
    assert draw(exports.golden(biggan).path, tmp_path / "out", "--resume") == 2
    assert "was begun with another artifact: give the same" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["webdataset", "npz", "png", "parquet"])
def test_overwrite_draws_anew_and_leaves_what_is_not_its_own(toy, tmp_path, name):
    out = tmp_path / "out"
    options = BulkOptions(Plan("0-9", format=name, shard_size=4), Source((toy,)), out, overwrite=True)
    bulk(replace(options, plan=replace(options.plan, seeds="0-19", shard_size=3)))
    mine = {out / "mine.txt", out / "00077" / "mine.png", out / "999999.tar", out / ("dataset.json" * (name != "png"))}
    for path in mine - {out}:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    files = bulk(options).files
    theirs = {out / "bulk.json", *([out / "dataset.json"] if name == "png" else [])}
    theirs |= {each for path in files for each in (path.iterdir() if path.is_dir() else [path])}
    assert {path for path in out.rglob("*") if path.is_file()} == theirs | (mine - {out})


def test_overwrite_that_was_cut_off_can_be_said_again(toy, tmp_path, whole, monkeypatch):
    """Its record is the last to go."""
    assert draw(toy, tmp_path / "out") == 0
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert draw(toy, tmp_path / "out", "--overwrite") == 130
    assert draw(toy, tmp_path / "out", "--overwrite") == 0
    assert contents(tmp_path / "out") == whole


def test_one_run_at_a_time(toy, tmp_path, whole, monkeypatch, capsys):
    """A second one is refused before it touches anything."""
    generate, codes = Cascade.generate, []

    def during(self, seeds, **knobs):
        if not codes:
            codes.append(None)
            codes[0] = draw(toy, tmp_path / "out", "--resume")
        return generate(self, seeds, **knobs)

    monkeypatch.setattr(Cascade, "generate", during)
    assert draw(toy, tmp_path / "out") == 0
    assert codes == [2] and "another ddgan-bulk draws into" in capsys.readouterr().err
    assert contents(tmp_path / "out") == whole


def test_a_folder_of_others_is_left_alone(toy, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    for others in ([], ["--overwrite"], ["--resume"]):
        assert draw(toy, tmp_path / "out", *others) == 2
        assert "holds other files, and no bulk.json of ddgan-bulk: give another folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--resume", "--overwrite"], "--resume goes on with what --overwrite would take away: give one of them"),
        (["--keep-shards"], "--keep-shards is for npz, all other formats keep theirs: leave it out"),
        (["--batch", "0"], "--batch, --shard-size and --threads must be 1 or more"),
        (["--workers", "2"], "--workers and --shared-out are for a cluster: give them with --ray"),
        (["--ray", "local", "--workers", "0"], "--workers must be 1 or more"),
        (["--guidance", "2"], "there is no knob guidance, only gain, label"),
        (["--label", "1,2"], "label has shape [2]: give int64 [1] for all images, or [20, 1]"),
        (["--label", "99"], "label 99 is out of range"),
        (["--seeds", "9-0"], "seeds 9-0 run backwards"),
        (["--engine", "none"], "engine 'none' is unknown"),
    ],
)
def test_a_wrong_input_is_one_line_and_leaves_nothing(toy, tmp_path, capsys, arguments, says):
    assert draw(toy, tmp_path / "out", *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and says in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder(toy, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert draw(toy, tmp_path / "out", "--overwrite") == 2
    assert "is a file: give a folder" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{}", '{"other": "tool"}', "[" * 9999])
def test_a_record_of_others_is_left_alone(toy, tmp_path, whole, capsys, content):
    """And all beside it."""
    assert draw(toy, tmp_path / "out") == 0
    (tmp_path / "out" / "bulk.json").write_text(content)
    for others in ([], ["--resume"], ["--overwrite"]):
        assert draw(toy, tmp_path / "out", *others) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert "bulk.json is no record of ddgan-bulk (" in said and said.endswith("give another folder")
    assert contents(tmp_path / "out") == whole


def test_what_is_written_down(toy, tmp_path):
    plan = Plan("3,5-7", {"label": np.array([1, 2, -1, 4]), "gain": 2}, shard_size=3, batch=2)
    result = bulk(BulkOptions(plan, Source((toy,)), tmp_path / "out"))
    record = json.loads((tmp_path / "out" / "bulk.json").read_text())
    assert record["complete"] and record["count"] == 4 and record["image"] == [8, 8, 3] and record["names"] == ["toy"]
    assert record["drawing"]["engine"] == result.engine and record["drawing"]["seeds"] == "3,5-7"
    assert record["drawing"]["knobs"]["gain"] == "2"
    (file,) = record["files"]
    assert (file["name"], file["count"], file["bytes"]) == ("samples_4x8x8x3.npz", 4, result.files[0].stat().st_size)
    labels = np.load(result.files[0])["arr_1"]
    assert labels[[0, 1, 3]].tolist() == [1, 2, 4] and labels[2] >= 0


def test_an_upsampler_behind(toy, tmp_path_factory, tmp_path):
    """As ddgan-sample --then draws."""
    from ddgan_deploy.engines.cascade import open_cascade
    from ddgan_deploy.export import ExportOptions, export
    from ddgan_deploy.families import registry
    from tests.families.toy import UPSAMPLER, write_checkpoint

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.FAMILIES, "toy", "tests.families.toy")
        path = write_checkpoint(tmp_path / "up.safetensors", UPSAMPLER)
        up = export(ExportOptions(path, out=tmp_path / "up", engine="none", verify=False)).artifact.path
    (file,) = bulk(BulkOptions(Plan("0-4", shard_size=2), Source((toy, up)), tmp_path / "out")).files
    with open_cascade([toy, up]) as cascade:
        np.testing.assert_array_equal(np.load(file)["arr_0"], cascade.generate(range(5)))
