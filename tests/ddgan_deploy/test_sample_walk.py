"""ddgan-sample --interpolate: what it writes, and that its ends are the seeds' images."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from ddgan_deploy import open_artifact
from ddgan_deploy.cli import sample as command
from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime
from ddgan_deploy.errors import GateError
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.families import registry
from tests.conftest import DATA
from tests.families.toy import UPSAMPLER, write_checkpoint


@pytest.fixture
def artifact(tmp_path):
    """Of a DDGAN, in the first format."""
    return shutil.copytree(DATA / "format1" / "artifact", tmp_path / "artifact")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """With a gain, labels and a picture."""
    folder = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.FAMILIES, "toy", "tests.families.toy")
        path = write_checkpoint(folder / "toy.safetensors", UPSAMPLER)
        yield export(ExportOptions(path, out=folder / "made", engine="none", verify=False)).artifact.path


def distance(one, other):
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other)).max())


@pytest.mark.parametrize("engine", ["onnxruntime", "onnxruntime-portable", "openvino-f32"])
def test_its_ends_are_the_seeds_images_and_no_image_comes_twice(artifact, library, tmp_path, engine):
    grid, singles, arrays = tmp_path / "grid.png", tmp_path / "singles", tmp_path / "images.npz"
    files = ["--out", str(grid), "--png-dir", str(singles), "--npz", str(arrays)]
    arguments = ["--engine", engine, "--seeds", "0,3,7", "--interpolate", "10", "--batch", "4", *files]
    assert command.main([str(artifact), *arguments]) == 0
    content = np.load(arrays)
    images = content["images"]
    assert content["seeds"].tolist() == [[0, 3]] * 10 + [[3, 7]] * 11 and content["seeds"].dtype == np.uint64
    np.testing.assert_allclose(content["t"], [*np.arange(10) / 10, *np.arange(11) / 10])
    with open_artifact(artifact, engine) as opened:
        assert distance(images[::10], opened.generate([0, 3, 7])) <= 1
    assert len(np.unique(images, axis=0)) == 21
    # Steps are small, and lead there.
    away = [np.abs(image.astype(int) - images[0]).mean() for image in images[:11]]
    assert away[1] < away[10] / 3 and away[10] == max(away)

    names = [f"0-3-{step:02}.png" for step in range(10)] + [f"3-7-{step:02}.png" for step in range(11)]
    assert sorted(path.name for path in singles.iterdir()) == names
    for name, image in zip(names, images, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(singles / name)), image)
    assert Image.open(singles / "3-7-02.png").text["Comment"] == "between seed 3 and seed 7, 2 of 10 steps"

    strip = Image.open(grid)
    assert strip.text["Comment"] == "from each of the seeds 0,3,7 to the next in 10 steps"
    side = images.shape[1]
    scale = -(-128 // side) if side < 64 else 1
    assert strip.size == (11 * (side * scale + 2) - 2, 2 * (side * scale + 2) - 2)
    pixels = np.asarray(strip)
    last, first = (
        pixels[row : row + side * scale : scale, column : column + side * scale : scale]
        for row, column in ((0, 10 * (side * scale + 2)), (side * scale + 2, 0))
    )
    np.testing.assert_array_equal(last, images[10].reshape(last.shape))
    np.testing.assert_array_equal(first, images[10].reshape(first.shape))


def test_knobs_go_along(toy, tmp_path):
    pictures, arrays = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8), tmp_path / "walk.npz"
    np.savez(tmp_path / "low_res.npz", low_res=pictures)
    knobs = ["--set", "gain=1,3", "--label", "4,7", "--low-res", str(tmp_path / "low_res.npz")]
    arguments = ["--seeds", "5,6", "--interpolate", "4", *knobs, "--npz", str(arrays)]
    assert command.main([str(toy), *arguments]) == 0
    content = np.load(arrays)
    assert sorted(content) == ["gain", "images", "label", "seeds", "t"]
    assert content["gain"].ravel().tolist() == [1, 1.5, 2, 2.5, 3] and content["label"].ravel().tolist() == [
        4,
        4,
        4,
        7,
        7,
    ]
    with open_artifact(toy) as engine:
        ends = engine.generate([5, 6], gain=[1, 3], label=[4, 7], low_res=pictures)
    assert distance(content["images"][[0, 4]], ends) <= 1


def test_a_seed_may_go_to_itself_with_another_knob(toy, tmp_path, capsys):
    arrays = tmp_path / "walk.npz"
    arguments = ["--seeds", "5,5", "--interpolate", "2", "--set", "low_res=0", "--npz", str(arrays)]
    assert command.main([str(toy), *arguments, "--set", "gain=1,3"]) == 0
    with open_artifact(toy) as engine:
        assert distance(np.load(arrays)["images"], engine.generate([5] * 3, gain=[1, 2, 3], low_res=0)) <= 1
    capsys.readouterr()
    assert command.main([str(toy), *arguments, "--overwrite", "--set", "gain=3"]) == 2
    assert capsys.readouterr().err == (
        "error: seed 5 follows itself, and nothing lies between: leave one out, or give a knob a value for each seed\n"
    )


def test_what_was_drawn_before_an_end_is_kept(artifact, tmp_path, monkeypatch, capsys):
    draw, calls = OnnxRuntime.sample, []

    def sample(engine, inputs):
        calls.append(inputs)
        if len(calls) == 3:
            raise GateError("out of luck")
        return draw(engine, inputs)

    monkeypatch.setattr(OnnxRuntime, "sample", sample)
    arrays = tmp_path / "walk.npz"
    arguments = ["--seeds", "0-2", "--interpolate", "4", "--batch", "2", "--npz", str(arrays)]
    assert command.main([str(artifact), "--engine", "onnxruntime-portable", *arguments]) == 1
    kept = tmp_path / "walk-PARTIAL.npz"
    assert capsys.readouterr().err == (
        f"error: out of luck; 4 of 9 images are in {kept}: draw all of them again with --overwrite\n"
    )
    assert np.load(kept)["t"].tolist() == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--interpolate", "1"], "steps from a seed to the next: 1 leave no image between them, give 2 or more"),
        (["--interpolate", "-3"], "next: -3 leave no image"),
        (["--interpolate", "many"], "invalid int value: 'many'"),
        (["--interpolate", "8", "--seeds", "3"], "seed 3 has no other to go to"),
        (["--interpolate", "8", "--seeds", "3,3,4"], "seed 3 follows itself"),
        (["--interpolate", "8", "--seeds", "0-200000"], "1,600,001 images are over 1,000,000"),
    ],
)
def test_a_walk_that_cannot_be_is_refused_in_one_line(artifact, tmp_path, capsys, arguments, says):
    assert command.main([str(artifact), *arguments, "--out", str(tmp_path / "grid.png")]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and not (tmp_path / "grid.png").exists()


def test_files_that_are_there_are_kept(artifact, tmp_path, capsys):
    (tmp_path / "1-2-4.png").touch()
    arguments = ["--seeds", "0-2", "--interpolate", "4", "--png-dir", str(tmp_path)]
    assert command.main([str(artifact), *arguments]) == 2
    assert "1-2-4.png exists already: give --overwrite" in capsys.readouterr().err


def test_a_server_is_not_asked(tmp_path, capsys):
    arguments = ["--url", "http://127.0.0.1:1", "--interpolate", "8", "--out", str(tmp_path / "grid.png")]
    assert command.main(arguments) == 2
    assert capsys.readouterr().err == (
        "error: a server takes seeds, and nothing between them: give DIR instead of --url with --interpolate\n"
    )
