"""The order of engines that a measurement gives, and where it is kept."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ddgan_deploy.artifact.manifest import Artifact, write_manifest
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.artifact.results import Speeds
from ddgan_deploy.bench.results import Row
from ddgan_deploy.engines import open_artifact, open_engine, speeds
from ddgan_deploy.engines.speeds import fastest_first, measured_of, measured_order, remember, this_machine

NATIVE_LAST = {
    "onnxruntime": {1: 9.0, 8: 70.0},
    "openvino-f32": {1: 5.0, 8: 90.0},
    "onnxruntime-portable": {1: 7.0, 8: 50.0},
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ddgan-deploy" / "speeds"


@pytest.fixture
def artifact(exported):
    return read_artifact(exported)


def _with(artifact, **changes):
    return Artifact(artifact.path, dataclasses.replace(artifact.manifest, **changes))


def test_the_fastest_over_all_batch_sizes_is_first():
    # 18.7, 21.2 and 25.1 ms in the geometric mean.
    assert fastest_first(Speeds("", NATIVE_LAST)) == ["onnxruntime-portable", "openvino-f32", "onnxruntime"]


def test_an_engine_that_lacks_a_batch_size_is_left_out():
    assert fastest_first(Speeds("", {"openvino-f32": {1: 5.0}, "onnxruntime": {1: 9.0, 8: 9.0}})) == ["onnxruntime"]


def test_without_a_measurement_there_is_no_order(cache, artifact):
    assert measured_order(artifact) == ()


def test_auto_takes_the_order_that_the_cache_keeps(cache, artifact):
    remember(artifact, Speeds(this_machine(), NATIVE_LAST))
    assert open_engine(artifact).name == "onnxruntime-portable"
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("change", [{"precision": "int8"}, {"steps": 3}, {"looped": True}], ids=str)
def test_other_networks_have_their_own(cache, artifact, change):
    remember(artifact, Speeds(this_machine(), NATIVE_LAST))
    assert measured_order(_with(artifact, **change)) == ()


def test_other_weights_share_it(cache, artifact):
    remember(artifact, Speeds(this_machine(), NATIVE_LAST))
    other = dataclasses.replace(artifact.manifest.checkpoint, sha256="0" * 64)
    assert measured_order(_with(artifact, checkpoint=other))


def test_another_machine_s_counts_neither_in_the_cache_nor_in_the_artifact(cache, artifact, monkeypatch):
    remember(artifact, Speeds(this_machine(), NATIVE_LAST))
    tuned = _with(artifact, tuned=Speeds(this_machine(), NATIVE_LAST))
    monkeypatch.setattr(speeds, "this_machine", lambda: "another")
    assert measured_order(tuned) == ()


def test_what_the_artifact_says_counts_where_the_cache_says_nothing(cache, artifact):
    tuned = _with(artifact, tuned=Speeds(this_machine(), NATIVE_LAST))
    assert measured_order(tuned)[0] == "onnxruntime-portable"
    remember(artifact, Speeds(this_machine(), {"onnxruntime": {1: 1.0}, "openvino-f32": {1: 2.0}}))
    assert measured_order(tuned) == ("onnxruntime", "openvino-f32")


def test_bfloat16_is_taken_only_where_its_gates_held(cache, artifact):
    fast = Speeds(this_machine(), {"onnxruntime-bf16": {1: 1.0}, "onnxruntime": {1: 2.0}})
    remember(artifact, fast)
    assert measured_order(artifact) == ("onnxruntime",)
    proven = _with(artifact, tuned=dataclasses.replace(fast, proven=("onnxruntime-bf16",)))
    assert measured_order(proven) == ("onnxruntime-bf16", "onnxruntime")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"format_version": 99}', b"\xff", b'{"format_version": 1, "speeds": 3}']
)
def test_a_damaged_file_of_the_cache_is_as_none(cache, artifact, content):
    remember(artifact, Speeds(this_machine(), NATIVE_LAST))
    (path,) = cache.iterdir()
    path.write_bytes(content)
    assert measured_order(artifact) == ()


def test_a_cache_that_cannot_be_written_costs_a_note(tmp_path, artifact, monkeypatch, capsys):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember(artifact, Speeds(this_machine(), NATIVE_LAST))
    assert "the engines' order is not kept" in capsys.readouterr().err
    assert measured_order(artifact) == ()


def test_a_relative_cache_folder_is_passed_over(tmp_path, artifact, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    remember(artifact, Speeds(this_machine(), NATIVE_LAST))
    assert list((tmp_path / ".cache" / "ddgan-deploy" / "speeds").iterdir())


def test_engines_that_this_version_does_not_have_are_passed_over(cache, artifact):
    remember(artifact, Speeds(this_machine(), {"quantum": {1: 1.0}, "onnxruntime": {1: 2.0}}))
    assert measured_order(artifact) == ("onnxruntime",)


def test_a_benchmark_s_rows_of_other_artifacts_and_devices_and_doubtful_ones_do_not_count(artifact):
    row = Row(
        "onnxruntime", "cpu", "fp32", str(artifact.path), 1, 5, 2.0, 2.0, 500.0, None, None, None, 1.0, None, 0.1, 0.1
    )
    rows = [
        row,
        dataclasses.replace(row, batch=4, median_ms=6.0),
        dataclasses.replace(row, engine="tensorrt"),
        dataclasses.replace(row, engine="pytorch-eager", artifact=None),
        dataclasses.replace(row, engine="openvino-f32", artifact="other"),
        dataclasses.replace(row, engine="onnxruntime-portable", doubtful="too fast"),
    ]
    assert measured_of(rows, artifact) == Speeds(this_machine(), {"onnxruntime": {1: 2.0, 4: 6.0}})


def test_it_is_kept_in_the_manifest(artifact, tmp_path):
    told = dataclasses.replace(artifact.manifest, tuned=Speeds("here", NATIVE_LAST, ("onnxruntime-bf16",)))
    write_manifest(tmp_path, told)
    assert json.loads((tmp_path / "manifest.json").read_text())["tuned"]["milliseconds"]["onnxruntime"]["1"] == 9.0


def test_a_name_is_taken_whatever_was_measured(cache, artifact):
    remember(artifact, Speeds(this_machine(), NATIVE_LAST))
    assert open_artifact(artifact.path, "onnxruntime").name == "onnxruntime"
