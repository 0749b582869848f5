"""The texts of commands and of curl, and that they draw the same."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest

from ddgan_deploy.cli import sample
from ddgan_deploy.cli.knobs import add_knob_arguments
from ddgan_deploy.command import Parser
from ddgan_deploy.knob_flags import FLAGS, argument
from ddgan_deploy.play import commands
from ddgan_deploy.play.files import files_of
from ddgan_deploy.play.source import ArtifactSource, drawn
from ddgan_deploy.sampler import Knob, label_knob

KNOBS = (label_knob(10), Knob("gain", "float32", (1,), 0, 10, 1.0), Knob("low_res", "uint8", (2, 2, 1), 0, 255))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("label", "3", "--label 3"),
        ("label", "-1", "--label=-1"),
        ("low_res", "low_res.npz", "--low-res low_res.npz"),
        ("gain", "0.5", "--set gain=0.5"),
        ("gain", "-2", "--set gain=-2"),
    ],
)
def test_a_knob_on_a_command_line(name, value, says):
    assert argument(name, value) == says
    parser = Parser()
    add_knob_arguments(parser, "one for each seed")
    told = vars(parser.parse_args(shlex.split(says)))
    assert told[name] == value if name in FLAGS else told["set"] == [f"{name}={value}"]


def test_what_is_at_its_default_is_left_out():
    picture = np.zeros((1, 2, 2, 1), np.uint8)
    assert commands.given(KNOBS, {"label": -1, "gain": 1, "low_res": picture}).keys() == {"low_res"}
    assert commands.given(KNOBS, {"label": 0, "gain": 0.5, "low_res": None}) == {"label": 0, "gain": 0.5}
    assert commands.given(KNOBS, {"label": None, "gain": None, "low_res": None}) == {}


def test_knobs_for_a_reader():
    assert commands.named({"label": 3.0, "gain": 0.25, "low_res": np.zeros((1, 2, 2, 1))}) == [
        "label 3",
        "gain 0.25",
        "low_res",
    ]


def test_the_command():
    knobs = {"label": 3.0, "gain": 0.30000000000000004, "low_res": np.zeros((1, 2, 2, 1), np.uint8)}
    assert commands.sample_command("'a b' --engine onnxruntime", [0, 1, 2, 9], knobs) == (
        "ddgan-sample 'a b' --engine onnxruntime --seeds 0-2,9 --label 3 --set gain=0.30000000000000004 "
        "--low-res low_res.npz --out grid.png"
    )


def test_requests():
    bodies = commands.requests(KNOBS, 2, [3, 2**64 - 1, 5], {"label": 7.0, "gain": 0.7})
    first, second = map(json.loads, bodies)
    assert first["inputs"] == [
        {"name": "seed", "shape": [2, 1], "datatype": "INT64", "data": [3, -1]},
        {"name": "label", "shape": [2, 1], "datatype": "INT64", "data": [7, 7]},
        {"name": "gain", "shape": [2, 1], "datatype": "FP32", "data": [0.7, 0.7]},
    ]
    assert [tensor["data"] for tensor in second["inputs"]] == [[5], [7], [0.7]]
    assert first["outputs"] == [{"name": "image"}]


def test_lines_of_curl():
    lines = commands.curl_lines("http://[::1]:8000", {"request.json": '{"a":1}'}, in_files=False)
    assert shlex.split(lines) == ["curl", "-s", "http://[::1]:8000/v2/models/ddgan/infer", "-d", '{"a":1}']
    bodies = dict.fromkeys(commands.body_names(2), "")
    words = [shlex.split(line)[-1] for line in commands.curl_lines("http://h:1", bodies, in_files=True).splitlines()]
    assert words == ["@request-1.json", "@request-2.json"]


def test_the_command_draws_the_same_with_the_files_that_go_with_it(upsampler, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    source, knobs = ArtifactSource(upsampler), {"gain": 2.5, "label": 3, "low_res": picture}
    drawing = drawn(source, [4, 5, 9], knobs)
    files = files_of(drawing, {"request.json": "é"})
    assert list(files) == ["grid.png", "images.npz", "low_res.npz", "request.json"]
    assert files["request.json"]() == "é".encode()
    (tmp_path / "low_res.npz").write_bytes(files["low_res.npz"]())
    (tmp_path / "page.npz").write_bytes(files["images.npz"]())
    line = commands.sample_command(source.arguments, drawing.seeds, knobs, "--npz", "images.npz")
    assert sample.main(shlex.split(line)[1:]) == 0
    assert (tmp_path / "grid.png").read_bytes() == files["grid.png"]()
    ours, theirs = np.load("page.npz"), np.load("images.npz")
    assert set(ours) == set(theirs) == {"seeds", "images", "gain", "label"}
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])
