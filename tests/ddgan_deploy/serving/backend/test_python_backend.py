"""What the python backend runs, against a stand-in for the server's module."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os

import numpy as np
import pytest
from PIL import Image

from ddgan_deploy import open_artifact
from ddgan_deploy.engines.arithmetic import name_and_type
from ddgan_deploy.serving import CACHE_VARIABLE
from ddgan_deploy.serving.backend import engine_model
from ddgan_deploy.serving.backend.heartbeat import Heartbeat
from ddgan_deploy.serving.backend.last_model import padded_png
from ddgan_deploy.serving.echo import comment_of_png
from ddgan_deploy.serving.python_backend import EngineModel, PngModel
from tests.ddgan_deploy.serving.backend import fake_backend_utils as fake
from tests.ddgan_deploy.serving.backend.fake_backend_utils import Request


class _Engine(EngineModel):
    server = fake


class _Png(PngModel):
    server = fake


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    # It would end the tests' own process.
    monkeypatch.setattr(Heartbeat, "start", lambda heart: None)
    fake.Logger.lines.clear()
    fake.MetricFamily.values.clear()
    yield
    ours = logging.getLogger("ddgan_deploy")
    for handler in ours.handlers[:]:
        ours.removeHandler(handler)


def _tensors(**dims):
    return [{"name": name, "dims": of_one} for name, of_one in dims.items()]


def _arguments(digits, outputs=("image", "drawn_seed"), response_cache=False, **changed):
    parameters = {"artifact": "artifact", "engine": "auto", "threads": "1"} | changed
    config = {
        "name": "ddgan",
        "max_batch_size": 8,
        "input": _tensors(seed=[1]),
        "output": [{"name": name} for name in outputs],
        "parameters": {k: {"string_value": v} for k, v in parameters.items() if v is not None},
        "response_cache": {"enable": response_cache},
    }
    folder = digits / "model_repository" / "ddgan"
    return {"model_config": json.dumps(config), "model_repository": str(folder), "model_version": "1"}


@contextlib.contextmanager
def _engine(digits, **changed):
    model = _Engine()
    model.initialize(_arguments(digits, **changed))
    yield model
    model.finalize()


@pytest.fixture
def engine(digits):
    with _engine(digits) as model:
        yield model


@pytest.fixture
def encoder():
    return _encoder(image=[16, 16, 1], drawn_seed=[1], seed=[1])


def _encoder(**inputs):
    model = _Png()
    config = {"name": "ddgan_encoder", "input": _tensors(**inputs), "output": [{"name": "png"}]}
    model.initialize({"model_config": json.dumps(config)})
    return model


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
            ("ddgan_runs_total", "ddgan", engine._engine.name, "4"): 1,
            ("ddgan_images_total", "ddgan", engine._engine.name): 4,
        }

    def test_a_seed_is_drawn_once(self, engine, digits):
        responses = engine.execute([Request(_seeds(5, 4)), Request(_seeds(4, 5, 5))])
        expected = open_artifact(digits).generate([5, 4, 4, 5, 5])
        np.testing.assert_array_equal(np.concatenate(_images(responses)), expected)
        assert fake.MetricFamily.values["ddgan_images_total", "ddgan", engine._engine.name] == 2

    def test_what_was_drawn_before_is_not_drawn_again(self, engine, digits):
        engine.execute([Request(_seeds(5, 4))])
        (answer,) = engine.execute([Request(_seeds(4, 6, 5))])
        np.testing.assert_array_equal(_images([answer])[0], open_artifact(digits).generate([4, 6, 5]))
        assert fake.MetricFamily.values["ddgan_images_total", "ddgan", engine._engine.name] == 3
        assert fake.MetricFamily.values["ddgan_cached_images_total", "ddgan", engine._engine.name] == 2

    def test_nothing_is_kept_where_that_is_not_wanted(self, digits, monkeypatch):
        monkeypatch.setenv(CACHE_VARIABLE, "0")
        with _engine(digits) as engine:
            for _ in range(2):
                engine.execute([Request(_seeds(5))])
            assert fake.MetricFamily.values["ddgan_images_total", "ddgan", engine._engine.name] == 2

    def test_an_answer_tells_what_it_was_drawn_from(self, engine):
        responses = engine.execute([Request(_seeds(3)), Request(_seeds(-1, 3))])
        assert [[tensor.name for tensor in answer.tensors] for answer in responses] == [["image", "drawn_seed"]] * 2
        assert [answer.tensors[1].array.tolist() for answer in responses] == [[[3]], [[-1], [3]]]

    def test_what_is_told_is_what_was_drawn_and_not_what_the_request_holds_by_then(self, engine, monkeypatch):
        asked, generate = _seeds(3, 4), engine._engine.generate

        def overtaken(seeds):
            asked[:] = 7
            return generate(seeds)

        monkeypatch.setattr(engine._engine, "generate", overtaken)
        (answer,) = engine.execute([Request(asked)])
        np.testing.assert_array_equal(answer.tensors[0].array, generate([3, 4]))
        assert answer.tensors[1].array.tolist() == [[3], [4]]

    def test_a_repository_of_before_has_the_image_alone(self, digits):
        with _engine(digits, outputs=("image",)) as engine:
            (answer,) = engine.execute([Request(_seeds(3))])
        assert [tensor.name for tensor in answer.tensors] == ["image"]

    def test_a_refusal_that_the_server_would_keep_for_others_is_not_given(self, digits):
        with _engine(digits, outputs=("image",), response_cache=True) as engine:
            requests = [Request(_seeds(3), cancelled=True), Request(np.array([3]))]
            answers = engine.execute(requests)
        assert [len(answer.tensors[0].array) for answer in answers] == [1, 1]

    @pytest.mark.parametrize("shape", [(1,), (0, 1), (2, 2), (1, 1, 1), ()], ids=str)
    def test_another_shape_is_refused(self, engine, shape):
        """2.51 takes a batch of 2^32 for one of 0, and hands it on without a batch."""
        good, bad = engine.execute([Request(_seeds(3)), Request(np.zeros(shape, np.int64))])
        assert bad.error.code == "invalid"
        says = f"input seed has shape {list(shape)}: give [batch, 1] with a batch of 1 or more"
        assert str(bad.error) == says and len(good.tensors[0].array) == 1

    def test_every_size_that_is_common_has_run_before_the_server_is_ready(self, digits, monkeypatch):
        sizes, opened = [], engine_model.open_artifact

        def watched(*arguments):
            engine = opened(*arguments)
            generate = engine.generate
            monkeypatch.setattr(engine, "generate", lambda seeds: sizes.append(len(set(seeds))) or generate(seeds))
            return engine

        monkeypatch.setattr(engine_model, "open_artifact", watched)
        with _engine(digits):
            assert sizes == [1, 8]

    def test_a_bad_request_spoils_no_other(self, engine, digits):
        requests = [Request(_seeds(7)), Request(None), Request(_seeds(8), cancelled=True), Request(_seeds(9))]
        first, unreadable, cancelled, last = engine.execute(requests)
        np.testing.assert_array_equal(np.concatenate(_images([first, last])), open_artifact(digits).generate([7, 9]))
        assert unreadable.error.code == "invalid" and str(unreadable.error) == "input seed must be given"
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
        assert ("info", f"ddgan draws on {name_and_type(engine._engine)}") in fake.Logger.lines

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

    def test_a_cache_of_no_size_is_said(self, digits, monkeypatch):
        monkeypatch.setenv(CACHE_VARIABLE, "much")
        with pytest.raises(fake.TritonModelException, match=f"{CACHE_VARIABLE} 'much' is no number: give MiB"):
            _Engine().initialize(_arguments(digits))


class TestPng:
    @staticmethod
    def _request(images, *seeds, drawn=None):
        return Request({"image": images, "seed": _seeds(*seeds), "drawn_seed": _seeds(*(drawn or seeds))})

    def test_every_image_becomes_a_file(self, digits, encoder):
        images = open_artifact(digits).generate([0, 1, -2])
        first, second = encoder.execute([self._request(images[:2], 0, 1), self._request(images[2:], -2)])
        files = [*first.tensors[0].array[:, 0], *second.tensors[0].array[:, 0]]
        assert first.tensors[0].array.shape == (2, 1) and first.tensors[0].name == "png"
        for file, image in zip(files, images, strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file)))[..., None], image)
        assert [comment_of_png(file) for file in files] == ["seed 0", "seed 1", "seed -2"]

    def test_an_image_of_another_seed_is_refused(self, encoder):
        images = np.zeros((2, 16, 16, 1), np.uint8)
        good, bad = encoder.execute([self._request(images, 5, 6), self._request(images, 5, 6, drawn=(5, 7))])
        assert bad.error.code == "internal" and not bad.tensors
        # Perhaps the request itself said so: nothing is told of the server.
        assert str(bad.error).endswith("WrongAnswerError: seed 6 came with an image of seed 7")
        assert [comment_of_png(file) for file in good.tensors[0].array[:, 0]] == ["seed 5", "seed 6"]

    def test_inputs_of_several_batches_are_refused(self, encoder):
        (answer,) = encoder.execute([self._request(np.zeros((2, 16, 16, 1), np.uint8), 5)])
        assert answer.error.code == "invalid"
        assert "image [2, 16, 16, 1], drawn_seed [1, 1], seed [1, 1] are not of one batch" in str(answer.error)

    def test_without_drawn_seed_the_images_are_taken_for_right(self):
        encoder = _encoder(image=[16, 16, 1], seed=[1])
        (answer,) = encoder.execute([Request({"image": np.zeros((1, 16, 16, 1), np.uint8), "seed": _seeds(9)})])
        assert comment_of_png(answer.tensors[0].array[0, 0]) == "seed 9"

    def test_a_repository_of_before_has_images_alone(self):
        (answer,) = _encoder(image=[16, 16, 1]).execute([Request(np.zeros((1, 16, 16, 1), np.uint8))])
        assert comment_of_png(answer.tensors[0].array[0, 0]) is None

    @pytest.mark.parametrize("shape", [(16, 16, 1), (1, 1, 1), (7, 5, 3), (32, 32, 4)])
    def test_files_fill_blocks(self, shape):
        generator = np.random.default_rng(0)
        for seed in (None, *range(20), *(-(10**digits) for digits in range(20))):
            pixels = generator.integers(0, 256, shape, np.uint8)
            told = None if seed is None else f"seed {seed}"
            file = padded_png(pixels, told or "")
            assert (len(file) + 4) % 16 == 0 and comment_of_png(file) == told
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))).reshape(shape), pixels)
