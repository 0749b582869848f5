"""A seed is an image: alone and in company, by every protocol, from the cache or not, before and after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from ddgan_deploy import open_artifact
from tests.ddgan_deploy.serving.traffic import MAX_BATCH, PROTOCOLS, Client, Pool, total

EDGES = (0, 1, -1, 2**31, -(2**31), 2**32 - 1, 2**32, 2**63 - 1, -(2**63))


@pytest.fixture(scope="module")
def pool(digits):
    return Pool(digits, [*EDGES, *range(1000, 1055)])


@pytest.fixture(params=PROTOCOLS)
def client(request, server):
    with Client(server, request.param) as client:
        yield client


def test_alone(client, pool):
    for seed in EDGES:
        assert client.images([seed]) == pool.expected([seed]), seed


def test_negative_seeds_are_unsigned_ones(client, digits):
    seeds = [-1, -(2**63), 5 - 2**64 + 2**63]
    images = open_artifact(digits).generate([seed % 2**64 for seed in seeds])
    assert client.images(seeds) == [image.tobytes() for image in images]


def test_in_every_batch_at_every_place(client, pool):
    for size in range(2, MAX_BATCH + 1):
        for start in range(size):
            seeds = [EDGES[(start + place) % len(EDGES)] for place in range(size)]
            assert client.images(seeds) == pool.expected(seeds), seeds


@pytest.mark.parametrize("seeds", [[7] * MAX_BATCH, [1000, -1, 1000, 0, 0, -1], [2**63 - 1, 1000, 2**63 - 1]], ids=str)
def test_one_seed_several_times_in_a_batch(client, digits, seeds):
    expected = Pool(digits, sorted(set(seeds)))
    assert client.images(seeds) == expected.expected(seeds)


def test_other_seeds_are_other_images(pool):
    assert len(set(pool.images.values())) == len(pool.seeds) == 64


@pytest.mark.parametrize("protocol", ["grpc", "http-binary"])
@pytest.mark.parametrize("seeds", [[-1], [1, 0, 1], [*EDGES[:MAX_BATCH]]], ids=len)
def test_png_is_the_same_image(server, pool, protocol, seeds):
    with Client(server, protocol) as client:
        assert client.pictures(seeds) == pool.expected(seeds)


@pytest.mark.parametrize("seeds", [[-1], [1, 0, 1], [*EDGES[:MAX_BATCH]]], ids=len)
def test_a_request_that_names_no_output_gets_pixels_and_what_they_were_drawn_from(client, pool, seeds):
    answer = client.ask(seeds)
    outputs = [output["name"] if isinstance(output, dict) else output.name for output in _outputs(answer)]
    assert sorted(outputs) == ["drawn_seed", "image"]
    assert [image.tobytes() for image in answer.as_numpy("image")] == pool.expected(seeds)
    assert answer.as_numpy("drawn_seed").tolist() == [[seed] for seed in seeds]


def test_what_an_earlier_request_named_does_not_matter(client, pool):
    """The server's own response cache would answer with what the first one had named."""
    for outputs in (("drawn_seed",), ("image",), ("image", "drawn_seed"), ("drawn_seed",), ("image",)):
        answer = client.ask([1020 + PROTOCOLS.index(client.protocol)], *outputs)
        for name in ("image", "drawn_seed"):
            assert (answer.as_numpy(name) is not None) == (name in outputs)


@pytest.mark.parametrize("clients", [2, 16])
def test_every_client_gets_its_own_images_in_order(server, pool, clients):
    def run(number: int) -> None:
        random = np.random.default_rng([clients, number])
        # Batches of 3 do not fill one of 8: the server cuts and joins them.
        with Client(server, PROTOCOLS[number % len(PROTOCOLS)]) as client:
            for _ in range(5):
                seeds = pool.some(random, 3)
                assert client.images(seeds) == pool.expected(seeds)

    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(run, range(clients)))


def test_requests_of_one_connection_are_answered_each_with_its_own(server, pool):
    random = np.random.default_rng(3)
    with Client(server, "grpc") as client, ThreadPoolExecutor(12) as threads:
        batches = [pool.some(random) for _ in range(24)]
        assert list(threads.map(client.images, batches)) == [pool.expected(seeds) for seeds in batches]


def test_pixels_and_png_of_other_clients_do_not_mix(server, pool):
    def run(number: int) -> None:
        random = np.random.default_rng([9, number])
        with Client(server, "grpc") as client:
            for _ in range(4):
                seeds = pool.some(random)
                ask = (client.images, client.pictures)[number % 2]
                assert ask(seeds) == pool.expected(seeds)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(run, range(6)))


def test_from_the_cache(server, client, digits):
    # Seeds that no other test asks for.
    first, second, third = (-100 - 3 * PROTOCOLS.index(client.protocol) - place for place in range(3))
    pool = Pool(digits, [first, second, third])

    def counts() -> tuple[int, int]:
        return total(server, "ddgan_images_total"), total(server, "ddgan_cached_images_total")

    drawn, cached = counts()
    for seeds, new, known in (([first, second], 2, 0), ([second], 0, 1), ([third, first, third], 1, 1)):
        assert client.images(seeds) == pool.expected(seeds)
        drawn, cached = drawn + new, cached + known
        assert counts() == (drawn, cached)
    # A PNG file's pixels, too.
    with Client(server, "grpc") as other:
        assert other.pictures([third]) == pool.expected([third])
    assert counts() == (drawn, cached + 1)


def test_from_another_start_of_the_server_without_a_cache(serve, pool):
    with serve(cache_mib=0) as started, Client(started, "grpc") as client:
        for seeds in ([-1], list(EDGES[:MAX_BATCH]), [-1]):
            assert client.images(seeds) == pool.expected(seeds)
        assert not total(started, "ddgan_cached_images_total")


def _outputs(answer: Any) -> Sequence[Any]:
    response = answer.get_response()
    return response["outputs"] if isinstance(response, dict) else response.outputs
