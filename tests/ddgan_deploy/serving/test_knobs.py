"""Knobs through a real server: optional inputs with defaults, alone, in batches, as PNG files and in the cache."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc
import tritonclient.http as http
from PIL import Image

from ddgan_deploy import open_artifact
from ddgan_deploy.cli import perf, sample
from ddgan_deploy.errors import InputError
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.families import registry
from ddgan_deploy.play import commands
from ddgan_deploy.play.source import server_source
from ddgan_deploy.serving import MODEL, PNG_MODEL
from ddgan_deploy.serving.backend.heartbeat import Heartbeat
from ddgan_deploy.serving.client import AsyncClient, Client
from ddgan_deploy.serving.echo import comment_of_png
from ddgan_deploy.serving.python_backend import EngineModel
from tests.ddgan_deploy.serving.backend import fake_backend_utils as fake
from tests.ddgan_deploy.serving.backend.fake_backend_utils import Request
from tests.ddgan_deploy.serving.traffic import total
from tests.families.toy import UPSAMPLER, write_checkpoint

ALIVE = Path(__file__).parents[3] / "deploy" / "alive.py"
SEEDS = range(7, 12)
GAINS = [0.5, 1, 2, 3, 4]
LABELS = [-1, 0, 9, 3, -1]


def _exported(folder, *others):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.FAMILIES, "toy", "tests.families.toy")
        path = write_checkpoint(folder / "toy.safetensors", *others)
        return export(ExportOptions(path, out=folder / "artifact", engine="none", verify=False)).artifact.path


@pytest.fixture(scope="module")
def served(serve, tmp_path_factory):
    with serve(_exported(tmp_path_factory.mktemp("knobs"))) as running:
        yield running


@pytest.fixture(params=["http", "grpc"])
def client(request, served):
    with Client(f"{request.param}://{getattr(served, request.param)}") as ours:
        yield ours


@pytest.fixture(scope="module")
def engine(served):
    with open_artifact(served.artifact) as opened:
        yield opened


def test_every_image_has_knobs_of_its_own(client, engine):
    expected = engine.generate(SEEDS, gain=GAINS, label=LABELS)
    np.testing.assert_array_equal(client.generate(SEEDS, gain=GAINS, label=LABELS), expected)
    np.testing.assert_array_equal(client.generate(SEEDS, label=3), engine.generate(SEEDS, label=3))
    np.testing.assert_array_equal(client.generate(SEEDS), engine.generate(SEEDS))


def test_png_files_say_what_they_were_drawn_with(client, engine):
    files = client.png(SEEDS, gain=GAINS, label=LABELS)
    drawn = np.stack([np.array(Image.open(io.BytesIO(file))) for file in files])
    np.testing.assert_array_equal(drawn, engine.generate(SEEDS, gain=GAINS, label=LABELS))
    assert comment_of_png(files[2]) == "seed 9, gain 2.0, label 9"
    assert comment_of_png(client.png([5])[0]) == "seed 5, gain 1.0, label -1"


def test_the_lines_of_curl_of_a_page_draw(served, engine):
    with Client(f"http://{served.http}") as client:
        source, knobs = server_source(client), {"gain": 0.7, "label": 3.0}
    seeds = [*range(9), 2**64 - 1]
    bodies = commands.requests(source.knobs, source.request_batch, seeds, knobs)
    lines = commands.curl_lines(source.http_url, dict(zip("ab", bodies, strict=True)), in_files=False).splitlines()
    outputs = [json.loads(subprocess.check_output(shlex.split(line)))["outputs"][0] for line in lines]
    drawn = np.concatenate([np.reshape(output["data"], output["shape"]) for output in outputs])
    np.testing.assert_array_equal(drawn, engine.generate(seeds, **knobs))
    assert source.size == engine.artifact.manifest.sampler.image[1:]


def test_a_wrong_knob_is_refused_before_anything_is_sent(client):
    for wrong, says in (({"gain": 11}, "gain 11 is out of range"), ({"pitch": 1}, "there is no knob pitch, only gain")):
        with pytest.raises(InputError, match=says):
            client.generate(SEEDS, **wrong)


class TestAPlainRequest:
    """Of tritonclient, with the inputs that are named."""

    @staticmethod
    def _ask(served, model, output, module=grpc, **inputs):
        tensors = []
        for name, value in inputs.items():
            array = np.array(value).reshape(-1, 1)
            kind = {"f": "FP32", "i": "INT64"}[array.dtype.kind]
            array = array.astype(np.float32 if kind == "FP32" else np.int64)
            tensors.append(module.InferInput(name, list(array.shape), kind).set_data_from_numpy(array))
        address = served.grpc if module is grpc else served.http
        with module.InferenceServerClient(address) as client:
            return client.infer(model, tensors).as_numpy(output)

    @pytest.mark.parametrize("module", [grpc, http])
    @pytest.mark.parametrize("knobs", [{}, {"gain": [2.0]}, {"label": [4]}, {"gain": [2.0], "label": [4]}])
    def test_leaves_out_what_it_likes(self, served, engine, module, knobs):
        (expected,) = engine.generate([3], **knobs)
        np.testing.assert_array_equal(self._ask(served, MODEL, "image", module, seed=[3], **knobs)[0], expected)
        (file,) = self._ask(served, PNG_MODEL, "png", module, seed=[3], **knobs)[0]
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(file))), expected)

    def test_is_told_what_was_drawn(self, served):
        for name, default in (("gain", 1.0), ("label", -1)):
            assert self._ask(served, MODEL, f"drawn_{name}", seed=[3]) == default
        assert self._ask(served, MODEL, "drawn_gain", seed=[3], gain=[2.5]) == 2.5

    def test_is_refused_where_a_knob_is_out_of_range(self, served):
        with pytest.raises(grpc.InferenceServerException, match=r"gain 11 is out of range: give a number in 0..10"):
            self._ask(served, MODEL, "image", seed=[3], gain=[11.0])
        with pytest.raises(grpc.InferenceServerException, match="out of range"):
            self._ask(served, MODEL, "image", seed=[3], gain=[float("nan")])


def test_a_request_without_a_seed_is_told_so(served):
    tensor = grpc.InferInput("label", [1, 1], "INT64").set_data_from_numpy(np.array([[3]]))
    with (
        grpc.InferenceServerClient(served.grpc) as client,
        pytest.raises(grpc.InferenceServerException, match="input seed must be given"),
    ):
        client.infer(MODEL, [tensor])


def test_requests_with_different_knobs_share_a_run(served, engine):
    def runs():
        return total(served, "ddgan_runs_total"), total(served, "ddgan_images_total")

    async def ask():
        async with AsyncClient(f"grpc://{served.grpc}", batch=1) as client:
            return await client.generate(range(1000, 1064), gain=np.linspace(0, 10, 64), label=np.arange(64) % 10)

    before = runs()
    images = asyncio.run(ask())
    after = runs()
    # How many wait together is a matter of time, so of runs there are only fewer; the next test counts them.
    assert after[1] - before[1] == 64 and after[0] - before[0] < 64
    expected = engine.generate(range(1000, 1064), gain=np.linspace(0, 10, 64), label=np.arange(64) % 10)
    np.testing.assert_array_equal(images, expected)


def test_one_run_draws_all_requests_that_come_together(served, engine, monkeypatch):
    class Ours(EngineModel):
        server = fake

    monkeypatch.setattr(Heartbeat, "start", lambda heart: None)
    # The model puts the server's log there, and leaves it.
    monkeypatch.setattr(logging.getLogger("ddgan_deploy"), "handlers", [])
    fake.MetricFamily.values.clear()
    knobs = [{"name": name, "dims": [1], "optional": True} for name in ("gain", "label")]
    parameters = {"artifact": "artifact", "engine": "auto", "threads": "1"}
    config = {
        "name": MODEL,
        "max_batch_size": 8,
        "input": [{"name": "seed", "dims": [1]}, *knobs],
        "output": [{"name": name} for name in ("image", "drawn_seed", "drawn_gain", "drawn_label")],
        "parameters": {name: {"string_value": value} for name, value in parameters.items()},
    }
    folder = str(served.artifact / "model_repository" / MODEL)
    model = Ours()
    model.initialize({"model_config": json.dumps(config), "model_repository": folder, "model_version": "1"})
    seeds, gains = np.array([[5], [6]]), np.array([[2.0], [3.0]], np.float32)
    answers = model.execute(
        [
            Request({"seed": seeds}),
            Request({"seed": seeds, "gain": gains}),
            Request({"seed": seeds, "gain": gains[:1]}),
            Request({"seed": seeds, "gain": gains + 8}),
            Request({"seed": seeds, "gain": gains}),
        ]
    )
    drawn = [{tensor.name: tensor.array for tensor in answer.tensors} for answer in answers]
    np.testing.assert_array_equal(drawn[0]["image"], engine.generate([5, 6]))
    np.testing.assert_array_equal(drawn[1]["image"], engine.generate([5, 6], gain=[2, 3]))
    np.testing.assert_array_equal(drawn[1]["image"], drawn[4]["image"])
    assert drawn[1]["drawn_gain"].ravel().tolist() == [2, 3] and drawn[0]["drawn_label"].ravel().tolist() == [-1, -1]
    assert "are not of one batch" in str(answers[2].error) and "gain 11 is out of range" in str(answers[3].error)
    assert fake.MetricFamily.values["ddgan_runs_total", "ddgan", model._engine.name, "4"] == 1
    model.finalize()


def test_the_cache_tells_knobs_apart(served, engine):
    with Client(f"grpc://{served.grpc}") as client:
        for gain in (1, 2, 1, 2):
            (image,) = client.generate([77], gain=gain)
            np.testing.assert_array_equal(image, engine.generate([77], gain=gain)[0])
        before = total(served, "ddgan_images_total")
        client.generate([77], gain=2)
        assert total(served, "ddgan_images_total") == before


def test_a_picture_that_must_be_given(serve, tmp_path_factory, tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    artifact = _exported(tmp_path_factory.mktemp("knobs"), UPSAMPLER)
    with serve(artifact) as running, open_artifact(artifact) as opened, Client(f"grpc://{running.grpc}") as client:
        expected = opened.generate([1, 1, 1], low_res=pictures)
        np.testing.assert_array_equal(client.generate([1, 1, 1], low_res=pictures), expected)
        assert (expected[0] != expected[1]).any()
        np.testing.assert_array_equal(client.generate([1, 2], low_res=pictures[0])[0], expected[0])
        files = client.png([1, 1, 1], low_res=pictures)
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(files[2]))), expected[2])
        assert "low_res sha256:" in comment_of_png(files[2])
        drawn = total(running, "ddgan_images_total")
        with pytest.raises(InputError, match=r"the knob low_res must be given: uint8 \[8, 8, 3\] for every image"):
            client.generate([1])
        probe = subprocess.run([sys.executable, ALIVE, f"http://{running.http}"], timeout=60)
        assert probe.returncode == 0 and total(running, "ddgan_images_total") > drawn
        np.savez(tmp_path / "base.npz", images=pictures)
        options = ["--concurrency", "1", "--duration", "1.5", "--seeds", "50", "--out", str(tmp_path / "out")]
        assert perf.main(["--url", running.grpc, "--low-res", str(tmp_path / "base.npz"), *options]) == 0


def test_the_commands_take_knobs(served, engine, tmp_path, capsys):
    knobs = ["--label", "1,2,3", "--set", "gain=2"]
    for protocol in ("http", "grpc"):
        arrays = tmp_path / f"{protocol}.npz"
        url = f"{protocol}://{getattr(served, protocol)}"
        assert sample.main(["--url", url, *knobs, "--seeds", "4-6", "--npz", str(arrays)]) == 0
        np.testing.assert_array_equal(np.load(arrays)["images"], engine.generate([4, 5, 6], label=[1, 2, 3], gain=2))
    assert sample.main(["--url", served.http, "--label", "10", "--out", str(tmp_path / "a.png")]) == 2
    assert "label 10 is out of range: give a number in -1..9" in capsys.readouterr().err


def test_perf_analyzer_asks_with_knobs(served, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--concurrency", "2", "--duration", "1.5", "--seeds", "500", "--warmup", "2", "--out", str(out)]
    for model in (MODEL, PNG_MODEL):
        urls = ["--url", served.grpc, "--url", served.http]
        asked = ["--model", model, "--label", "1,2,3", *options, "--overwrite"]
        assert perf.main([*urls, *asked]) == 0
        assert json.loads((out / "perf.json").read_text())["knobs"] == {"gain": [1.0], "label": [1, 2, 3]}
        requests = json.loads((out / "grpc-2.json").read_text())["experiments"][0]["requests"]
        assert {request["request_inputs"]["label"] for request in requests} == {1, 2, 3}
