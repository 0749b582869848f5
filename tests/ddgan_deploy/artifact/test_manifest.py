"""A manifest of this format and of the one before; what is damaged is refused in one line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ddgan_deploy.artifact.manifest import MANIFEST, SAMPLER, SERVED, WEIGHTS
from ddgan_deploy.artifact.reading import read_artifact, read_damaged
from ddgan_deploy.cli import sample
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.family import FAMILY
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.families.registry import model_and_sampling
from ddgan_deploy.sampler import Probe
from tests.ddgan_deploy.artifact.made import FILES, MODEL, SAMPLING, manifest


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
        (("serving", "queue_size"), -1, "--queue-size -1 is out of range: give 1..1000000"),
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
