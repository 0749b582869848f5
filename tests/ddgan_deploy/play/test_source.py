"""What draws: an opened artifact, or a server."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.play.source import BATCH, ArtifactSource, Drawing, drawn, server_source
from ddgan_deploy.serving.client import Client
from ddgan_deploy.serving.client.transports import GrpcTransport, HttpTransport
from tests.ddgan_deploy.serving.stand_in import stand_in


class Batches:
    """An engine that tells how many images it is asked for at once."""

    def __init__(self, engine):
        self.name, self.artifact, self._engine, self.asked = engine.name, engine.artifact, engine, []

    def generate(self, seeds, **knobs):
        self.asked.append((len(seeds), {name: len(value) for name, value in knobs.items()}))
        return self._engine.generate(seeds, **knobs)


def test_an_artifact_draws_in_the_batches_of_ddgan_sample(opened):
    engine, seeds = Batches(opened), list(range(20))
    drawing = drawn(ArtifactSource(engine), seeds, {"gain": 2.5})
    np.testing.assert_array_equal(drawing.images, opened.generate(seeds, gain=2.5))
    assert engine.asked == [(count, {"gain": count, "label": count}) for count in (BATCH, 4)]
    assert drawing.seconds > 0


def test_what_an_artifact_tells(opened, toy):
    source = ArtifactSource(opened, threads=2)
    assert source.title == "a toy" and source.size == (8, 8) and source.engine is opened
    assert source.arguments == f"'{toy}' --engine onnxruntime-portable --threads 2"
    assert source.serve == f"ddgan-serve --repository '{toy / 'model_repository'}'"
    assert [knob.name for knob in source.knobs] == ["gain", "label"]


def test_the_batch_of_a_request_is_the_repository_s(opened, toy):
    config = toy / "model_repository" / "ddgan" / "config.pbtxt"
    assert "max_batch_size: 8" in config.read_text()
    assert ArtifactSource(opened).request_batch == 8
    text = config.read_text()
    try:
        config.write_text(text.replace("max_batch_size: 8", "max_batch_size: 5"))
        assert ArtifactSource(opened).request_batch == 5
    finally:
        config.write_text(text)


@pytest.fixture
def sized(monkeypatch):
    """Has configurations tell the size of an image, which the stand-in's do not."""

    def telling(*size):
        for transport in (GrpcTransport, HttpTransport):
            monkeypatch.setattr(transport, "config", functools.partialmethod(_told, transport.config, size))

    return telling


async def _told(transport, config, size, model):
    told = await config(transport, model)
    others = [output for output in told["output"] if output["name"] != "image"]
    return {**told, "output": [*others, {"name": "image", "dims": list(map(str, size))}]}


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_what_a_server_tells(protocol, sized):
    sized(16, 24, 3)
    with stand_in(protocol) as server, Client(server.url) as client:
        source = server_source(client)
        assert source.size == (16, 24) and source.request_batch == 4 and source.engine is None
        assert source.title == server.url and source.name == f"ddgan at {server.url}"
        assert source.arguments == f"--url {server.url}"
        assert source.http_url == (server.url if protocol == "http" else None)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_server_draws(protocol, sized):
    sized(1, 1, 1)
    with stand_in(protocol) as server, Client(server.url) as client:
        assert drawn(server_source(client), [1, 2], {}).images.ravel().tolist() == [1, 2]


CHANGED = "is another model than this page was made for: end ddgan-play, start it again"


def test_a_server_whose_images_have_another_size_now(sized):
    sized(16, 24, 3)
    with stand_in("http") as server, Client(server.url) as client, pytest.raises(GateError, match=CHANGED):
        server_source(client).generate([1, 2], {})


@pytest.mark.parametrize(("tells", "says"), [(True, "gave no image: unexpected shape for input"), (False, CHANGED)])
def test_a_server_that_refuses(tells, says, sized):
    """Though it has the same model, or because it has one with other outputs by now."""
    sized(1, 1, 1)
    with stand_in("http", "wrong") as server, Client(server.url) as client:
        source = server_source(client)
        server.tells = tells
        with pytest.raises(GateError, match=says):
            source.generate([1, 2], {})


def test_a_server_that_does_not_tell_a_size():
    with stand_in("http") as server, Client(server.url) as client, pytest.raises(InputError) as caught:
        server_source(client)
    assert "does not tell the size of its images" in str(caught.value)


def test_nobody_there():
    with stand_in("http") as server:
        url = server.url
    with Client(url, timeout=1, retries=0) as client, pytest.raises(InputError, match="nobody answers"):
        server_source(client)


def test_how_fast():
    drawing = Drawing([0, 1], {}, np.zeros((2, 1, 1, 1), np.uint8), 0.05)
    assert drawing.told("x") == "2 images by x in 50.0 ms: 25.00 ms an image, 40.0 images a second"
    one = Drawing([0], {}, np.zeros((1, 1, 1, 1), np.uint8), 2.0)
    assert one.told("x") == "1 image by x in 2000.0 ms: 2000.00 ms an image, 0.5 images a second"


@pytest.mark.parametrize(
    ("name", "gflops", "quick"),
    [("onnxruntime", 0.0, True), ("onnxruntime", 500.0, True), ("onnxruntime", 501.0, False), ("tensorrt", 1e4, True)],
)
def test_what_a_cpu_takes_long_for_is_drawn_when_it_is_asked_for(opened, name, gflops, quick):
    class Other:
        artifact = replace(opened.artifact, manifest=replace(opened.artifact.manifest, gflops=gflops))

    Other.name = name
    assert ArtifactSource(Other()).is_quick == quick
