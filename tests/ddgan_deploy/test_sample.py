"""ddgan-sample on an artifact: what it writes, and that a seed is an image."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from PIL import Image

from ddgan_deploy import open_artifact
from ddgan_deploy.cli import sample as command
from ddgan_deploy.cli import sample_outputs
from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime
from ddgan_deploy.errors import GateError, InputError


@pytest.fixture
def artifact(biggan, exports):
    return exports.golden(biggan).path


def test_grid_single_images_and_npz_agree(artifact, tmp_path):
    grid, singles, arrays = tmp_path / "grid.png", tmp_path / "singles", tmp_path / "images.npz"
    arguments = ["--seeds", "3,7-9", "--out", str(grid), "--png-dir", str(singles), "--npz", str(arrays)]
    assert command.main([str(artifact), *arguments]) == 0
    content = np.load(arrays)
    assert content["seeds"].tolist() == [3, 7, 8, 9]
    assert content["images"].shape == (4, 32, 32, 3)
    assert content["images"].dtype == np.uint8
    for seed, image in zip(content["seeds"], content["images"], strict=True):
        assert np.array_equal(np.asarray(Image.open(singles / f"{seed}.png")), image)
    assert min(Image.open(grid).size) > 64


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (GateError("out of luck"), 1), (InputError("wrong"), 2)]
)
def test_what_was_drawn_before_an_end_is_kept(artifact, tmp_path, monkeypatch, capsys, error, code):
    draw = OnnxRuntime.generate

    def generate(engine, seeds, **knobs):
        if 7 in seeds:
            raise error
        return draw(engine, seeds, **knobs)

    monkeypatch.setattr(OnnxRuntime, "generate", generate)
    singles, arrays = tmp_path / "new" / "singles", tmp_path / "images.npz"
    arguments = ["--seeds", "3,9,4-8,20", "--batch", "3", "--png-dir", str(singles), "--npz", str(arrays)]
    assert command.main([str(artifact), "--engine", "onnxruntime-portable", *arguments]) == code
    said, kept = capsys.readouterr().err, tmp_path / "images-PARTIAL.npz"
    what = str(error) or "interrupted"
    assert said == f"error: {what}; 3 of 8 images are in {singles} and {kept}: draw the others with --seeds 5-8,20\n"
    assert {path.name for path in singles.iterdir()} == {"3.png", "9.png", "4.png"}
    assert np.load(kept)["seeds"].tolist() == [3, 9, 4]
    assert {path.name for path in tmp_path.iterdir()} == {"new", kept.name}


def test_a_wrong_input_before_the_first_image_leaves_nothing(artifact, tmp_path, monkeypatch, capsys):
    def generate(engine, seeds):
        raise InputError("wrong")

    monkeypatch.setattr(OnnxRuntime, "generate", generate)
    arguments = ["--png-dir", str(tmp_path / "new" / "singles"), "--npz", str(tmp_path / "images.npz")]
    assert command.main([str(artifact), "--engine", "onnxruntime-portable", *arguments]) == 2
    assert capsys.readouterr().err == "error: wrong\n" and not list(tmp_path.iterdir())


def _full(file, *_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("arrays", [False, True])
def test_a_disk_that_is_full_loses_no_image_that_was_written(artifact, tmp_path, monkeypatch, capsys, arrays):
    write = sample_outputs._write_png

    def write_four(path, image, *comment):
        if len(list(path.parent.glob("[0-9]*.png"))) == 4:
            raise InputError(f"{path} cannot be written (No space left on device): choose another place")
        write(path, image, *comment)

    monkeypatch.setattr(sample_outputs, "_write_png", write_four)
    monkeypatch.setattr(np, "savez_compressed", _full)
    singles = tmp_path / "singles"
    # The first images of a batch count too.
    arguments = ["--seeds", "0-9", "--batch", "10", "--png-dir", str(singles)]
    arguments += ["--npz", str(tmp_path / "images.npz")] * arrays
    assert command.main([str(artifact), "--engine", "onnxruntime-portable", *arguments]) == 2
    assert capsys.readouterr().err == (
        f"error: {singles / '4.png'} cannot be written (No space left on device): choose another place; "
        f"4 of 10 images are in {singles}: draw the others with --seeds 4-9\n"
    )
    assert {path.name for path in singles.iterdir()} == {f"{seed}.png" for seed in range(4)}
    assert list(tmp_path.iterdir()) == [singles]


def test_a_disk_that_is_full_at_the_end_loses_no_single_image(artifact, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(np, "savez_compressed", _full)
    singles, arrays = tmp_path / "singles", tmp_path / "images.npz"
    arguments = ["--seeds", "0-2", "--png-dir", str(singles), "--npz", str(arrays)]
    assert command.main([str(artifact), "--engine", "onnxruntime-portable", *arguments]) == 2
    assert capsys.readouterr().err == (
        f"error: {arrays} cannot be written (No space left on device): choose another place; "
        f"3 of 3 images are in {singles}\n"
    )
    assert len(list(singles.iterdir())) == 3 and list(tmp_path.iterdir()) == [singles]


def test_a_seed_gives_one_image_whatever_the_batch(artifact, tmp_path):
    images = {}
    for batch in ("1", "2", "5"):
        path = tmp_path / f"{batch}.npz"
        assert command.main([str(artifact), "--seeds", "0-4", "--npz", str(path), "--batch", batch]) == 0
        images[batch] = np.load(path)["images"]
    assert np.array_equal(images["1"], images["5"])
    assert np.array_equal(images["2"], images["5"])
    assert not np.array_equal(images["5"][0], images["5"][1])


def test_the_largest_seeds_work(artifact):
    engine = open_artifact(artifact)
    largest = engine.generate([2**64 - 1, 2**63])
    assert np.array_equal(largest[0], engine.generate([-1])[0])
    assert not np.array_equal(largest[0], largest[1])


def test_python_api_names_the_engine(artifact):
    engine = open_artifact(artifact, "onnxruntime-portable", threads=1)
    assert engine.name == "onnxruntime-portable"
    assert engine.artifact.manifest.steps == 4
