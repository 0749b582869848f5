"""The clients: right answers from a real server, and what they make of one that is busy, broken or wrong."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from ddgan_deploy import open_artifact
from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.serving import ENCODER_MODEL, MODEL, PNG_MODEL
from ddgan_deploy.serving.client import IN_FLIGHT, AsyncClient, Client, ServerError, asynchronous
from tests.ddgan_deploy.serving.stand_in import MAX_BATCH, PROTOCOLS, REASONS, stand_in

SEEDS = [*range(40), -1, 2**64 - 1, 2**63, -(2**63)]


@pytest.fixture(scope="module")
def expected(server):
    with open_artifact(server.artifact) as engine:
        return engine.generate(SEEDS)


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    return request.param


@pytest.fixture
def url(server, protocol):
    """The real server's, by each protocol."""
    return f"{protocol}://{getattr(server, protocol)}"


@pytest.fixture
def hasty(monkeypatch):
    """Retries follow at once."""
    monkeypatch.setattr(asynchronous, "LONGEST_PAUSE", 0.001)


def test_images_are_the_engine_s(url, expected):
    with Client(url) as client:
        images = client.generate(SEEDS)
    assert images.dtype == np.uint8
    assert np.array_equal(images, expected)


@pytest.mark.parametrize("model", [MODEL, PNG_MODEL])
def test_png_files_hold_the_images(url, expected, model):
    with Client(url, model=model) as client:
        files = client.png(SEEDS)
    pixels = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
    assert np.array_equal(np.stack(pixels)[..., None], expected)


def test_asyncio_gives_the_same(url, expected):
    async def ask() -> tuple[np.ndarray, list[bytes], bool]:
        async with AsyncClient(url) as client:
            return await asyncio.gather(client.generate(SEEDS), client.png(SEEDS[:3]), client.ready())

    images, files, ready = asyncio.run(ask())
    assert np.array_equal(images, expected)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(files[2]))), expected[2, :, :, 0])
    assert ready


def test_threads_share_a_client(url, expected):
    with Client(url, batch=3) as client, ThreadPoolExecutor(8) as threads:
        shares = [range(start, 40, 8) for start in range(8)]
        for share, images in zip(shares, threads.map(client.generate, shares), strict=True):
            assert np.array_equal(images, expected[share])


def test_clients_on_several_event_loops_say_nothing(server, expected, capfd):
    def draw(number: int) -> np.ndarray:
        with Client(f"grpc://{server.grpc}") as client:
            return client.generate([number] * 20)

    with ThreadPoolExecutor(4) as threads:
        for number, images in enumerate(threads.map(draw, range(4))):
            assert np.array_equal(images, expected[[number] * 20])
    assert "Traceback" not in capfd.readouterr().err


def test_ready_is_whether_the_model_can_be_asked(url, protocol):
    with Client(url) as client, Client(url, model="none") as other, Client(_unused(protocol)) as alone:
        assert client.ready()
        assert not other.ready()
        assert not alone.ready()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("none", "model none at .* is unknown: Request for unknown model"),
        (PNG_MODEL, "does not turn seed into image"),
        (ENCODER_MODEL, "does not turn seed into image"),
    ],
)
def test_a_wrong_model_is_a_wrong_input(url, model, message):
    with Client(url, model=model) as client, pytest.raises(InputError, match=message):
        client.generate([0])


@pytest.mark.parametrize("seeds", [[], [2**64], [-(2**63) - 1], [1.5], ["1"], 3, [[1]]], ids=repr)
def test_wrong_seeds_are_sent_to_nobody(protocol, seeds):
    with stand_in(protocol) as server, Client(server.url) as client:
        with pytest.raises(InputError, match="seed"):
            client.generate(seeds)
        assert not server.requests


@pytest.mark.parametrize(
    "wrong", [{"timeout": 0}, {"timeout": float("nan")}, {"timeout": float("inf")}, {"retries": -1}, {"batch": 0}]
)
def test_wrong_options_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=f"{name} .* is out of range"):
        Client("http://127.0.0.1:1", **wrong)


@pytest.mark.parametrize(("batch", "sizes"), [(None, [4, 4, 2]), (3, [3, 3, 3, 1]), (100, [4, 4, 2])])
def test_seeds_are_split_and_come_back_in_order(protocol, batch, sizes):
    late = threading.Lock()

    def the_first_is_last() -> None:
        if late.acquire(blocking=False):
            time.sleep(0.1)

    with stand_in(protocol) as server, Client(server.url, batch=batch) as client:
        server.before = the_first_is_last
        images = client.generate(range(200, 210))
        assert images.ravel().tolist() == list(range(200, 210))
        assert sorted(map(len, server.requests), reverse=True) == sizes


def test_so_many_requests_are_in_flight_and_no_more(protocol):
    together, lock = threading.Barrier(IN_FLIGHT), threading.Lock()
    under_way, seen = 0, []

    def meet() -> None:
        nonlocal under_way
        with lock:
            under_way += 1
            seen.append(under_way)
        together.wait(5)
        time.sleep(0.02)
        with lock:
            under_way -= 1

    with stand_in(protocol) as server, Client(server.url) as client:
        server.before = meet
        client.generate(range(2 * IN_FLIGHT * MAX_BATCH))
    assert max(seen) == IN_FLIGHT


@pytest.mark.parametrize("trouble", ["busy", "broken", "dead", "stopping", "empty", "mixed", "other"])
def test_what_was_not_processed_is_sent_again(protocol, trouble, hasty):
    with stand_in(protocol, trouble, trouble, trouble) as server, Client(server.url) as client:
        assert client.generate([7]).ravel().tolist() == [7]
        assert server.requests == [[7]] * 4


def test_another_request_s_answer_is_handed_to_nobody(protocol, hasty):
    with stand_in(protocol, *["other"] * 9) as server, Client(server.url, retries=2) as client:
        with pytest.raises(ServerError, match="seed 7 came with an image of seed 8: .* restart the server"):
            client.generate([7])
        assert len(server.requests) == 3


def test_a_server_of_before_does_not_tell_what_it_drew(protocol):
    with stand_in(protocol, "answer", "other", tells=False) as server, Client(server.url) as client:
        assert client.generate([7]).ravel().tolist() == [7]
        assert client.generate([7]).ravel().tolist() == [8]


@pytest.mark.parametrize("trouble", ["busy", "broken"])
def test_retries_end(protocol, trouble, hasty):
    with stand_in(protocol, *[trouble] * 9) as server, Client(server.url, retries=2) as client:
        with pytest.raises(ServerError, match=rf"model ddgan at {server.url} gave no image: .") as caught:
            client.generate([7])
        assert len(server.requests) == 3
    assert trouble == "broken" or REASONS["busy"][0] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("trouble", "error"), [("wrong", ServerError), ("failed", ServerError), ("unknown", InputError)]
)
def test_other_refusals_are_final(protocol, trouble, error):
    with stand_in(protocol, trouble) as server, Client(server.url) as client:
        with pytest.raises(error, match=REASONS[trouble][0]):
            client.generate([7])
        assert len(server.requests) == 1


def test_a_model_that_has_answered_is_no_wrong_input_when_it_is_gone(protocol):
    with stand_in(protocol, "answer", "unknown", "unknown") as server, Client(server.url) as client:
        client.generate([7])
        says = f"model ddgan at {server.url} is no longer known: .*not found: restart ddgan-serve"
        with pytest.raises(ServerError, match=says):
            client.generate([8])
        with pytest.raises(ServerError, match=says):
            client.generate_each([9], lambda start, images: None)


def test_one_failed_request_ends_the_others(protocol):
    with stand_in(protocol, "failed", *["silent"] * 7) as server, Client(server.url) as client:
        with pytest.raises(ServerError, match="out of memory"):
            client.generate(range(20 * MAX_BATCH))
        assert len(server.requests) <= IN_FLIGHT


def test_an_answer_of_the_wrong_length_is_no_answer(protocol):
    with stand_in(protocol, "short") as server, Client(server.url) as client:
        with pytest.raises(ServerError, match=r"answer to 2 seeds has shape \[1, 1, 1, 1\]"):
            client.generate([7, 8])
        assert len(server.requests) == 1


def test_a_slow_server_is_given_up_at_the_time_out(protocol):
    with stand_in(protocol, "answer", "silent") as server, Client(server.url, timeout=0.3) as client:
        client.generate([7])
        with pytest.raises(ServerError, match=r"did not answer within 0\.3 s"):
            client.generate([7])
        assert len(server.requests) == 2


def test_no_retry_begins_after_the_time_out(protocol, monkeypatch):
    monkeypatch.setattr(asynchronous, "FIRST_PAUSE", 60)
    monkeypatch.setattr(asynchronous, "LONGEST_PAUSE", 60)
    with stand_in(protocol, "busy") as server, Client(server.url, timeout=20) as client:
        # The queue's reason, not the time-out's: it was not waited for.
        with pytest.raises(ServerError, match="Exceeds maximum queue size"):
            client.generate([7])
        assert len(server.requests) == 1


def test_a_server_that_starts_late_is_reached_by_retries(protocol):
    url = _unused(protocol)
    with Client(url, retries=8) as client, ThreadPoolExecutor(1) as thread:
        answer = thread.submit(client.generate, [7])
        time.sleep(0.3)
        with stand_in(protocol, port=_port(url)):
            assert answer.result().ravel().tolist() == [7]


def test_a_connection_that_failed_is_soon_tried_again(protocol):
    url = _unused(protocol)
    with Client(url, retries=0) as client:
        with pytest.raises(ServerError):
            client.generate([7])
        with stand_in(protocol, port=_port(url)):
            # Within a second, a gRPC channel with its default options would refuse without connecting.
            time.sleep(0.3)
            assert client.generate([7]).ravel().tolist() == [7]


def test_by_default_retries_outlast_a_restart_of_ten_seconds(protocol, monkeypatch):
    pauses: list[float] = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asynchronous.asyncio, "sleep", note)
    monkeypatch.setattr(asynchronous.random, "uniform", lambda least, most: least)
    with Client(_unused(protocol)) as client, pytest.raises(ServerError):
        client.generate([7])
    assert sum(pauses) > 10
    assert max(pauses) <= 2, "a server that is back is not left alone for longer"


@pytest.mark.parametrize(
    ("host", "reason"), [("127.0.0.1", "Connection refused"), ("no.such.host.invalid", "resolving|not known")]
)
def test_nobody_there_is_a_failure_that_names_the_server_and_the_fix(protocol, hasty, host, reason):
    url = _unused(protocol).replace("127.0.0.1", host)
    fix = "start ddgan-serve, or give another url$"
    with (
        Client(url) as client,
        pytest.raises(ServerError, match=rf"^nobody answers at {url} \(.*({reason}).*\): {fix}"),
    ):
        client.generate([7])
    assert issubclass(ServerError, GateError)


@pytest.mark.parametrize(("speaks", "asked"), [PROTOCOLS, PROTOCOLS[::-1]])
def test_the_wrong_protocol_is_one_clear_error(speaks, asked, hasty):
    with stand_in(speaks) as server, Client(server.url.replace(speaks, asked, 1)) as client:
        url = str(client.address)
        with pytest.raises(ServerError, match=f"model ddgan at {url} gave no image: .*, give {server.url}$"):
            client.generate([7])
        assert not server.requests


@pytest.mark.parametrize("asked", ["grpc", "grpcs", "https"])
def test_one_that_hangs_up_may_speak_something_else(asked, hasty):
    """As 2.51's HTTP does with what it does not understand."""

    def hang_up(port: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                with port.accept()[0] as connection:
                    connection.recv(1000)

    with socket.create_server(("127.0.0.1", 0)) as port:
        thread = threading.Thread(target=hang_up, args=(port,))
        thread.start()
        address = f"127.0.0.1:{port.getsockname()[1]}"
        fix = {
            "grpc": f"; if it speaks HTTP, give http://{address}",
            "grpcs": f"gave no image: it does not seem to speak TLS: give grpc://{address}",
            "https": f"gave no image: it does not seem to speak TLS: give http://{address}",
        }[asked]
        with Client(f"{asked}://{address}") as client, pytest.raises(ServerError, match=f"{fix}$"):
            client.generate([7])
        port.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(("asked", "fix"), [("https", "http"), ("grpcs", "grpc")])
def test_tls_where_there_is_none(protocol, asked, fix, hasty):
    with stand_in(protocol) as server:
        address = server.url.partition("://")[2]
        says = (
            f"^model ddgan at {asked}://{address} gave no image: it does not seem to speak TLS: give {fix}://{address}$"
        )
        with Client(f"{asked}://{address}") as client, pytest.raises(ServerError, match=says):
            client.generate([7])


@pytest.mark.parametrize("protocol", ["grpcs", "https"])
def test_tls_is_never_left_out(protocol, hasty):
    first = []

    def listen(port: socket.socket) -> None:
        connection, _ = port.accept()
        with connection:
            first.append(connection.recv(1))

    with socket.create_server(("127.0.0.1", 0)) as port:
        thread = threading.Thread(target=listen, args=(port,))
        thread.start()
        address = f"{protocol}://127.0.0.1:{port.getsockname()[1]}"
        with Client(address, timeout=5, retries=0) as client, pytest.raises(ServerError, match=address):
            client.generate([7])
        thread.join()
    assert first == [b"\x16"], "a TLS handshake begins with 22"


def test_a_closed_client_says_so(protocol):
    with stand_in(protocol, "silent") as server, ThreadPoolExecutor(1) as thread:
        client = Client(server.url)
        waiting = thread.submit(client.generate, [7])
        while not server.requests:
            time.sleep(0.01)
        client.close()
        with pytest.raises(InputError, match="is closed"):
            waiting.result()
        with pytest.raises(InputError, match="is closed"):
            client.generate([7])
        client.close()


def test_without_tritonclient_the_remedy_is_said(monkeypatch, protocol):
    for name in ("tritonclient", "tritonclient.grpc", "tritonclient.http", "tritonclient.http.aio"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"pip install 'ddgan-deploy\[serving\]'"):
        Client(f"{protocol}://127.0.0.1:1")


def test_the_module_itself_needs_no_tritonclient():
    code = "import ddgan_deploy.serving.client, sys; assert not {'tritonclient', 'grpc', 'aiohttp'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def _unused(protocol: str) -> str:
    """A url at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as port:
        return f"{protocol}://127.0.0.1:{port.getsockname()[1]}"


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
