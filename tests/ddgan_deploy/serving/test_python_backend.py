"""What the python backend runs, against a stand-in for the server's module."""

from __future__ import annotations

import io
import json
import logging
import os

import numpy as np
import pytest
from PIL import Image

from ddgan_deploy import open_artifact
from ddgan_deploy.serving.python_backend import EngineModel, PngModel, padded_png
from tests.ddgan_deploy.serving import fake_backend_utils as fake
from tests.ddgan_deploy.serving.fake_backend_utils import Request


class _Engine(EngineModel):
    server = fake


class _Png(PngModel):
    server = fake


@pytest.fixture(autouse=True)
def _forget():
    fake.Logger.lines.clear()
    fake.MetricFamily.values.clear()
    yield
    ours = logging.getLogger("ddgan_deploy")
    for handler in ours.handlers[:]:
        ours.removeHandler(handler)


def _arguments(digits, **changed):
    parameters = {"artifact": "artifact", "engine": "auto", "threads": "1"} | changed
    config = {
        "name": "ddgan_engine",
        "parameters": {k: {"string_value": v} for k, v in parameters.items() if v is not None},
    }
    folder = digits / "model_repository" / "ddgan_engine"
    return {"model_config": json.dumps(config), "model_repository": str(folder), "model_version": "1"}


@pytest.fixture
def engine(digits):
    model = _Engine()
    model.initialize(_arguments(digits))
    yield model
    model.finalize()


def _seeds(*values):
    return np.array(values, np.int64).reshape(-1, 1)


def _images(responses):
    return [response.tensors[0].array for response in responses]


class TestEngine:
    def test_one_run_for_all_requests(self, engine, digits):
        responses = engine.execute([Request(_seeds(3)), Request(_seeds(1, 2)), Request(_seeds(-1))])
        expected = open_artifact(digits).generate([3, 1, 2, 2**64 - 1])
        np.testing.assert_array_equal(np.concatenate(_images(responses)), expected)
        assert [len(image) for image in _images(responses)] == [1, 2, 1]
        assert fake.MetricFamily.values == {
            ("ddgan_runs_total", engine._engine.name, "4"): 1,
            ("ddgan_images_total", engine._engine.name): 4,
        }

    def test_a_seed_is_drawn_once(self, engine, digits):
        responses = engine.execute([Request(_seeds(5, 4)), Request(_seeds(4, 5, 5))])
        expected = open_artifact(digits).generate([5, 4, 4, 5, 5])
        np.testing.assert_array_equal(np.concatenate(_images(responses)), expected)
        assert fake.MetricFamily.values["ddgan_images_total", engine._engine.name] == 2

    def test_a_bad_request_spoils_no_other(self, engine, digits):
        requests = [Request(_seeds(7)), Request(None), Request(_seeds(8), cancelled=True), Request(_seeds(9))]
        first, unreadable, cancelled, last = engine.execute(requests)
        np.testing.assert_array_equal(np.concatenate(_images([first, last])), open_artifact(digits).generate([7, 9]))
        assert unreadable.error.code == "invalid" and "input seed cannot be read" in str(unreadable.error)
        assert cancelled.error.code == "cancelled"

    def test_nothing_but_bad_requests(self, engine):
        assert [answer.error.code for answer in engine.execute([Request(None), Request(None)])] == ["invalid"] * 2
        assert not fake.MetricFamily.values

    def test_a_failed_run_is_tried_for_each_alone(self, engine, monkeypatch):
        generate = engine._engine.generate

        def picky(seeds):
            if 6 in seeds:
                raise MemoryError("no room\nfor seed 6")
            return generate(seeds)

        monkeypatch.setattr(engine._engine, "generate", picky)
        good, bad, other = engine.execute([Request(_seeds(1)), Request(_seeds(6)), Request(_seeds(2))])
        np.testing.assert_array_equal(np.concatenate(_images([good, other])), generate([1, 2]))
        assert str(bad.error) == "MemoryError: no room for seed 6" and bad.error.code == "internal"
        assert [level for level, _ in fake.Logger.lines if level != "info"] == ["warning", "error"]

    def test_logs_through_the_server(self, engine):
        logging.getLogger("ddgan_deploy.engines").warning("tensorrt does not run here")
        assert ("warning", "tensorrt does not run here") in fake.Logger.lines
        assert ("info", f"ddgan_engine draws on {engine._engine.name}") in fake.Logger.lines

    def test_an_instance_has_its_own_gpu(self, digits, monkeypatch):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        arguments = _arguments(digits) | {"model_instance_kind": "GPU", "model_instance_device_id": "3"}
        _Engine().initialize(arguments)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
        del os.environ["CUDA_VISIBLE_DEVICES"]

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"artifact": "elsewhere"}, "elsewhere does not exist"),
            ({"engine": "abacus"}, "engine 'abacus' is unknown"),
            ({"threads": "many"}, "parameters: threads 'many' is no number: give 1 or more"),
            ({"threads": "-1"}, "parameters: threads '-1' is no number"),
            ({"threads": None}, "config.pbtxt lacks parameters: 'threads'"),
        ],
    )
    def test_what_cannot_be_opened_is_said(self, digits, changed, reason):
        with pytest.raises(fake.TritonModelException, match=reason):
            _Engine().initialize(_arguments(digits, **changed))


class TestPng:
    def test_every_image_becomes_a_file(self, digits):
        images = open_artifact(digits).generate([0, 1, 2])
        first, second = _Png().execute([Request(images[:2]), Request(images[2:])])
        files = [*first.tensors[0].array[:, 0], *second.tensors[0].array[:, 0]]
        assert first.tensors[0].array.shape == (2, 1) and first.tensors[0].name == "png"
        for file, image in zip(files, images, strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file)))[..., None], image)

    @pytest.mark.parametrize("shape", [(16, 16, 1), (1, 1, 1), (7, 5, 3), (32, 32, 4)])
    def test_files_fill_blocks(self, shape):
        generator = np.random.default_rng(0)
        for _ in range(40):
            pixels = generator.integers(0, 256, shape, np.uint8)
            file = padded_png(pixels)
            assert (len(file) + 4) % 16 == 0
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))).reshape(shape), pixels)
