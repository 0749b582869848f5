"""ddgan-sample on an artifact: what it writes, and that a seed is an image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ddgan_deploy import open_artifact
from ddgan_deploy.cli import sample as command
from ddgan_deploy.engines.onnxruntime import OnnxRuntime
from ddgan_deploy.errors import GateError, InputError
from tests.export.conftest import export_golden


@pytest.fixture(scope="module")
def artifact(biggan, tmp_path_factory):
    return export_golden(biggan, tmp_path_factory.mktemp("sample"), verify=False).artifact.path


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
def test_what_was_drawn_before_an_end_is_kept_but_for_a_wrong_input(
    artifact, tmp_path, monkeypatch, capsys, error, code
):
    draw = OnnxRuntime.generate

    def generate(engine, seeds):
        if 7 in seeds:
            raise error
        return draw(engine, seeds)

    monkeypatch.setattr(OnnxRuntime, "generate", generate)
    singles, arrays = tmp_path / "new" / "singles", tmp_path / "images.npz"
    arguments = ["--seeds", "3,9,4-8,20", "--batch", "3", "--png-dir", str(singles), "--npz", str(arrays)]
    assert command.main([str(artifact), "--engine", "onnxruntime-portable", *arguments]) == code
    said, kept = capsys.readouterr().err, tmp_path / "images-PARTIAL.npz"
    if code == 2:
        assert said == "error: wrong\n" and not list(tmp_path.iterdir())
        return
    what = str(error) or "interrupted"
    assert said == f"error: {what}; 3 of 8 images are in {singles} and {kept}: draw the others with --seeds 5-8,20\n"
    assert {path.name for path in singles.iterdir()} == {"3.png", "9.png", "4.png"}
    assert np.load(kept)["seeds"].tolist() == [3, 9, 4]
    assert {path.name for path in tmp_path.iterdir()} == {"new", kept.name}


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
