"""A base and its upsampler: from the command line, and behind one name of a real server."""

from __future__ import annotations

import contextlib
import io
import json
import shutil

import numpy as np
import pytest
import tritonclient.http as http
from google.protobuf import text_format
from PIL import Image
from tritonclient.grpc.model_config_pb2 import ModelConfig

from ddgan_deploy import open_artifact
from ddgan_deploy.cli import sample
from ddgan_deploy.engines.cascade import open_cascade
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.export import cli as export_command
from ddgan_deploy.families import registry
from ddgan_deploy.inputs import at_stage
from ddgan_deploy.serving.backend.heartbeat import Heartbeat
from ddgan_deploy.serving.client import Client
from ddgan_deploy.serving.echo import comment_of_png
from ddgan_deploy.serving.python_backend import PixelModel
from tests.ddgan_deploy.serving.backend import fake_backend_utils as fake
from tests.ddgan_deploy.serving.traffic import metrics
from tests.families.toy import UPSAMPLER, write_checkpoint


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with both artifacts."""
    folder = tmp_path_factory.mktemp("cascade")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.FAMILIES, "toy", "tests.families.toy")
        for name, others in (("base", ()), ("up", (UPSAMPLER,))):
            path = write_checkpoint(folder / f"{name}.safetensors", *others)
            export(ExportOptions(path, out=folder / name, engine="none", verify=False))
    return folder


@pytest.fixture(scope="module")
def repository(made):
    out = made / "repository"
    assert export_command.main(["--cascade", str(made / "base"), str(made / "up"), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def opened(made):
    with open_cascade([made / "base", made / "up"]) as cascade:
        yield cascade


def _config(repository, model):
    return text_format.Parse((repository / model / "config.pbtxt").read_text(), ModelConfig())


def test_the_command_draws_and_enlarges(made, opened, tmp_path):
    arrays = tmp_path / "large.npz"
    line = [str(made / "base"), "--then", str(made / "up"), "--seeds", "3-6", "--label", "1,2,3,4", "--batch", "3"]
    assert sample.main([*line, "--npz", str(arrays)]) == 0
    large = np.load(arrays)["images"]
    np.testing.assert_array_equal(large, opened.generate([3, 4, 5, 6], label=[1, 2, 3, 4]))
    with open_artifact(made / "base") as base, open_artifact(made / "up") as up:
        small = base.generate([3, 4, 5, 6], label=[1, 2, 3, 4])
        seeds, knobs = at_stage(
            up.artifact.manifest.sampler.knobs, 1, [3, 4, 5, 6], {"label": [1, 2, 3, 4], "low_res": small}
        )
        np.testing.assert_array_equal(large, up.generate(seeds, **knobs))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--url", "localhost:1", "--then", "{}/up"], "--then enlarges what DIR draws here: leave it out with --url"),
        (["{}/base", "--then", "{}/up", "--interpolate", "4"], "--interpolate goes between the seeds of one artifact"),
        (["{}/up", "--then", "{}/base"], "base takes no picture to enlarge: give an upsampler's artifact"),
        (["{}/base", "--then", "{}/up", "--set", "low_res=1"], "there is no knob low_res, only gain, label"),
    ],
)
def test_what_the_command_refuses(made, tmp_path, capsys, line, said):
    line = [part.format(made) for part in line]
    assert sample.main([*line, "--npz", str(tmp_path / "out.npz")]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_what_one_drew_with_is_what_the_next_one_gets(repository):
    """So that an image that went astray is told at the end, whichever model gave it away."""
    first, second, last = _config(repository, "ddgan").ensemble_scheduling.step
    told = {name: f"drawn_{name}_1" for name in ("seed", "gain", "label")}
    assert dict(second.input_map) == {**told, "low_res": first.output_map["image"]}
    asked = {name: name for name in told}
    drawn = {f"drawn_{name}": f"drawn_{name}_2" for name in told}
    assert dict(last.input_map) == {"image": second.output_map["image"], **asked, **drawn}
    assert dict(last.output_map) == {"image": "image"}


def test_backends_that_tell_nothing_may_draw_first_alone(made, tmp_path, capsys):
    """And a request must have all knobs that such a one cannot put in itself."""
    line = ["--cascade", str(made / "base"), str(made / "up"), "--out", str(tmp_path / "out")]
    with _on_onnxruntime(made / "base"):
        assert export_command.main(line) == 0
        config = _config(tmp_path / "out", "ddgan")
        first, second, last = config.ensemble_scheduling.step
        assert dict(first.output_map) == {"image": "image_1"}
        assert dict(second.input_map) == {"seed": "seed", "gain": "gain", "label": "label", "low_res": "image_1"}
        assert last.input_map["drawn_seed"] == "drawn_seed_2" and not any(each.optional for each in config.input)
    with _on_onnxruntime(made / "up"):
        assert export_command.main([*line[:-1], str(tmp_path / "another")]) == 2
    assert "up enlarges on the backend onnxruntime, which cannot give it noise of its own" in capsys.readouterr().err


@contextlib.contextmanager
def _on_onnxruntime(artifact):
    line = ["--rebuild", str(artifact), "--engine", "none", "--backend"]
    assert export_command.main([*line, "onnxruntime"]) == 0
    yield
    assert export_command.main([*line, "auto"]) == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["base"], "base alone is no cascade: give an upsampler's artifact after it"),
        (["up", "base"], "base takes no picture to enlarge"),
        (["base", "nowhere"], "nowhere"),
        (["base", "up", "--ckpt", "x"], "--ckpt does not go with --cascade, which takes artifacts as they are"),
        (["base", "up", "--max-batch", "4"], "--cascade takes artifacts as they are: choose engines and the backend"),
    ],
)
def test_what_makes_no_repository(made, tmp_path, capsys, monkeypatch, line, said):
    monkeypatch.chdir(made)
    assert export_command.main(["--cascade", *line, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_repository_replaces_its_like_alone(made, repository, tmp_path, capsys):
    line = ["--cascade", str(made / "base"), str(made / "up"), "--overwrite", "--out"]
    assert export_command.main([*line, str(repository)]) == 0
    assert export_command.main([*line, str(made / "up")]) == 2
    said = "is not the model repository of a cascade and nothing else, so --overwrite will not replace it"
    assert f"up {said}" in capsys.readouterr().err
    assert export_command.main([*line, str(made / "up" / "inside")]) == 2
    assert "up/inside is inside of the artifact" in capsys.readouterr().err and not (made / "up" / "inside").exists()
    other = tmp_path / "other"
    shutil.copytree(repository, other)
    (other / "somebodys").mkdir()
    assert export_command.main([*line, str(other)]) == 2 and said in capsys.readouterr().err
    assert (other / "somebodys").is_dir()


def test_clients_ask_it_as_any_other(serve, repository, opened):
    seeds, labels = [5, 6, 7], [0, 9, -1]
    expected = opened.generate(seeds, label=labels, gain=2)
    with serve(repository) as running:
        for url in (f"http://{running.http}", f"grpc://{running.grpc}"):
            with Client(url) as client:
                np.testing.assert_array_equal(client.generate(seeds, label=labels, gain=2), expected)
                files = client.png(seeds, label=labels, gain=2)
                np.testing.assert_array_equal([np.array(Image.open(io.BytesIO(file))) for file in files], expected)
                assert comment_of_png(files[1]) == "seed 6, gain 2.0, label 9"
        for model in ("ddgan_1", "ddgan_2"):
            assert len(metrics(running, "ddgan_images_total", model=model)) == 1
        with http.InferenceServerClient(running.http) as plain:
            seed = http.InferInput("seed", [1, 1], "INT64")
            seed.set_data_from_numpy(np.array([[5]]))
            (image,) = plain.infer("ddgan", [seed]).as_numpy("image")
            np.testing.assert_array_equal(image, opened.generate([5])[0])


def test_an_image_that_went_astray_is_refused(monkeypatch):
    monkeypatch.setattr(Heartbeat, "start", lambda heart: None)
    tensors = {"image": [2, 2, 3], "drawn_seed": [1], "seed": [1]}
    inputs = [{"name": name, "dims": dims} for name, dims in tensors.items()]
    model = type("Checker", (PixelModel,), {"server": fake})()
    model.initialize({"model_config": json.dumps({"name": "it", "input": inputs, "output": [{"name": "image"}]})})
    image, seeds = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3), np.array([[3], [4]])
    good, bad = model.execute(
        [
            fake.Request({"image": image, "seed": seeds, "drawn_seed": seeds}),
            fake.Request({"image": image, "seed": seeds, "drawn_seed": seeds[::-1].copy()}),
        ]
    )
    np.testing.assert_array_equal(good.tensors[0].array, image)
    assert "seed 3 came with an image of seed 4" in str(bad.error)
