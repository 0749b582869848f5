"""Images that are handed over as they arrive: none is lost to an error, and the time-out counts from the last."""

from __future__ import annotations

import time

import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.serving.client import Client, ServerError, asynchronous
from tests.ddgan_deploy.serving.stand_in import MAX_BATCH, PROTOCOLS, stand_in


@pytest.fixture
def one_by_one(monkeypatch):
    """One request is under way."""
    monkeypatch.setattr(asynchronous, "IN_FLIGHT", 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_image_arrives_with_its_place(protocol):
    seeds = [9, 3, *range(100, 121)]
    arrived = {}
    with stand_in(protocol, "answer", "busy", "broken") as server, Client(server.url) as client:
        client.generate_each(seeds, lambda start, images: arrived.update(enumerate(images.ravel().tolist(), start)))
    assert [arrived[place] for place in range(len(seeds))] == seeds


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.usefixtures("one_by_one")
class TestOneByOne:
    def test_what_came_before_an_error_is_there(self, protocol):
        arrived = []
        with (
            stand_in(protocol, "answer", "answer", "failed") as server,
            Client(server.url) as client,
            pytest.raises(ServerError, match="out of memory"),
        ):
            client.generate_each(range(20), lambda start, images: arrived.extend(images.ravel().tolist()))
        assert arrived == list(range(2 * MAX_BATCH))

    def test_the_time_out_begins_anew_with_every_answer(self, protocol):
        with stand_in(protocol) as server, Client(server.url, timeout=1.5) as client:
            server.before = lambda: time.sleep(0.25)
            start = time.monotonic()
            client.generate_each(range(8 * MAX_BATCH), lambda start, images: None)
            assert time.monotonic() - start > 1.5
            with pytest.raises(ServerError, match=r"did not answer within 1\.5 s"):
                client.generate(range(8 * MAX_BATCH))

    def test_a_server_that_falls_silent_is_given_up(self, protocol):
        arrived = []
        with (
            stand_in(protocol, "answer", "silent") as server,
            Client(server.url, timeout=0.5) as client,
            pytest.raises(ServerError, match=r"did not answer within 0\.5 s"),
        ):
            client.generate_each(range(20), lambda start, images: arrived.append(start))
        assert arrived == [0]

    def test_who_takes_them_may_end_it(self, protocol):
        def refuse(start, images):
            raise InputError("no room")

        with stand_in(protocol) as server, Client(server.url) as client:
            with pytest.raises(InputError, match="no room"):
                client.generate_each(range(20), refuse)
            assert len(server.requests) == 1
