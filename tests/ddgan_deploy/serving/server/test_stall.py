"""A process of the python backend that stands still, and a server that crashes, under ddgan-serve.

Left to itself, the server gives a batch up whose process shows no sign of life for a second, and takes the next answer
of that process for the next request's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ddgan_deploy.serving import ENCODER_MODEL, MODEL
from ddgan_deploy.serving import client as ours
from tests.ddgan_deploy.serving.commands import command, server_of
from tests.ddgan_deploy.serving.traffic import Client, Pool, children, decoded, neighbours, stub, wait_for

STALL_SECONDS = 1.5
SEEDS = 160


@pytest.fixture(scope="module")
def pool(digits):
    return Pool(digits, range(SEEDS))


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("stall") / "log"


@pytest.fixture(scope="module")
def served(tritonserver, digits, log):
    # Without the cache, so that every image is drawn.
    with command(digits, log, "--cache-size", "0") as served:
        yield served
    assert served.process.returncode == 0


def stall(pid: int) -> None:
    """What a machine that swaps does to a process."""
    os.kill(pid, signal.SIGSTOP)
    time.sleep(STALL_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def our_clients(served, pool: Pool) -> Iterator[None]:
    """Two clients that get everything that they ask for while the block runs: pixels by gRPC, PNG files by HTTP."""

    def ask(number: int) -> None:
        random = np.random.default_rng(100 + number)
        url = f"grpc://{served.grpc}" if number else f"http://{served.http}"
        with ours.Client(url, timeout=120, retries=100) as client:
            while not over.is_set():
                seeds = pool.some(random)
                images = client.generate(seeds) if number else [decoded(file) for file in client.png(seeds)]
                assert [bytes(image) for image in images] == pool.expected(seeds)

    over = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        clients = [threads.submit(ask, number) for number in range(2)]
        try:
            yield
        finally:
            over.set()
    for client in clients:
        client.result()


def test_under_load_nobody_gets_what_another_asked_for(served, pool, log):
    before = log.read_text().count("stands still: the server is started anew")
    stalls = (MODEL, ENCODER_MODEL, MODEL)
    # Those of others do not check what they get; that none of it was wrong is asserted at the end.
    with neighbours(served, pool, 4) as others, our_clients(served, pool):
        for model in stalls:
            first = server_of(served)
            stall(stub(first, model))
            wait_for(lambda: server_of(served) not in (None, first))  # noqa: B023
            right = others.right
            wait_for(lambda: others.right > right + 20)  # noqa: B023
    assert log.read_text().count("stands still: the server is started anew") == before + len(stalls)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (lambda server: stall(stub(server, MODEL)), "of the python backend stands still"),
        (lambda server: os.kill(server, signal.SIGSEGV), "the server was ended by signal 11"),
        (lambda server: os.kill(server, signal.SIGKILL), "the server was ended by signal 9"),
    ],
    ids=["stall", "crash", "kill"],
)
def test_idle_it_is_started_anew(served, pool, log, fault, says):
    before = log.read_text().count(f"{says}: the server is started anew")
    first = server_of(served)
    fault(first)
    wait_for(lambda: server_of(served) not in (None, first))
    with ours.Client(f"grpc://{served.grpc}", retries=100) as client:
        assert [image.tobytes() for image in client.generate(pool.seeds[:3])] == pool.expected(pool.seeds[:3])
    assert log.read_text().count(f"{says}: the server is started anew") == before + 1


def test_everything_stops_and_goes_on(served, pool, log):
    """As when a container is paused: nobody is there to see it but the processes themselves, when they wake."""
    before = log.read_text().count("of the python backend stood still for")
    server = server_of(served)
    everything = [served.process.pid, server, *children(server)]
    with neighbours(served, pool, 4) as others, our_clients(served, pool):
        for pid in everything:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(STALL_SECONDS)
        for pid in reversed(everything):
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: server_of(served) not in (None, server))
        right = others.right
        wait_for(lambda: others.right > right + 20)
    assert log.read_text().count("of the python backend stood still for") > before


def test_it_still_ends_when_it_is_told_to(served, pool):
    with Client(served, "grpc") as client:
        assert client.images(pool.seeds[:3]) == pool.expected(pool.seeds[:3])
