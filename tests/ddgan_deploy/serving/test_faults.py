"""Faults: clients that go away, a process that dies, an end under load, full queues, damaged files."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from http.client import HTTPException

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from ddgan_deploy.export import cli as export_command
from ddgan_deploy.serving import MODEL
from tests.ddgan_deploy.serving.commands import command
from tests.ddgan_deploy.serving.traffic import (
    MAX_BATCH,
    PATIENCE,
    Client,
    Pool,
    children,
    descriptors,
    neighbours,
    stub,
    total,
    wait_for,
)

TIMES = 20
ASKED = 30
UNAVAILABLE = {"grpc": "StatusCode.UNAVAILABLE", "http-binary": "503"}
NOT_HEALTHY = f"Stub process '{MODEL}_0_0' is not healthy"
# The server waits in vain for a model that could not be loaded anew, when it ends.
ENDS_AT_ONCE = "--exit-timeout-secs=1"


@pytest.fixture(scope="module")
def pool(digits):
    return Pool(digits, range(ASKED * MAX_BATCH))


@pytest.fixture
def repository(digits, tmp_path):
    """A model repository to change."""
    return shutil.copytree(digits / "model_repository", tmp_path / "repository")


@pytest.fixture(scope="module")
def rebuilt(digits, tmp_path_factory):
    folder = shutil.copytree(digits, tmp_path_factory.mktemp("bounded") / "digits")
    assert export_command.main(["--rebuild", str(folder), "--engine", "none", "--queue-size", "2"]) == 0
    return folder


@pytest.fixture
def bounded(rebuilt, tmp_path):
    """A model repository to change in which two requests may wait."""
    return shutil.copytree(rebuilt / "model_repository", tmp_path / "repository")


def full_batches(pool: Pool, count: int) -> list[list[int]]:
    return [pool.seeds[number * MAX_BATCH :][:MAX_BATCH] for number in range(count)]


def set_queue(repository, name: str, value: int) -> None:
    config = repository / MODEL / "config.pbtxt"
    changed, count = re.subn(rf"{name}: \d+", f"{name}: {value}", config.read_text())
    assert count == 1
    config.write_text(changed)


def http_request(seeds: list[int]) -> bytes:
    tensor = {"name": "seed", "shape": [len(seeds), 1], "datatype": "INT64", "data": seeds}
    body = json.dumps({"inputs": [tensor], "outputs": [{"name": "image"}]}).encode()
    return b"POST /v2/models/%b/infer HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MODEL.encode(), len(body)) + body


# Clients that go away.


@pytest.mark.parametrize("ending", ["closed", "reset"])
@pytest.mark.parametrize("left_out", [0, 10, 150], ids=["whole-request", "cut-body", "cut-header"])
def test_a_client_that_hangs_up(server, pool, left_out, ending):
    host, port = server.http.split(":")
    with neighbours(server, pool) as clients:
        before = descriptors(server.pid)
        for seeds in full_batches(pool, TIMES):
            connection = socket.create_connection((host, int(port)), PATIENCE)
            if ending == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request = http_request(seeds)
            connection.sendall(request[: len(request) - left_out])
            connection.close()
        right = clients.right
        wait_for(lambda: clients.right > right + 3)
        wait_for(lambda: descriptors(server.pid) <= before)
    assert not clients.errors


def test_a_call_that_is_cancelled(server, pool):
    tensor = tritonclient.grpc.InferInput("seed", [MAX_BATCH, 1], "INT64")
    ended: list[Exception | None] = []
    with neighbours(server, pool) as clients, Client(server, "grpc") as client:
        for seeds in full_batches(pool, TIMES):
            tensor.set_data_from_numpy(np.array(seeds)[:, None])
            call = client.connection.async_infer(MODEL, [tensor], lambda result, error: ended.append(error))
            call.cancel()
        wait_for(lambda: len(ended) == TIMES)
        assert client.images(pool.seeds[:MAX_BATCH]) == pool.expected(pool.seeds[:MAX_BATCH])
    assert any("cancelled" in str(error) for error in ended)
    assert not clients.errors


# Queues.


def test_a_full_queue_refuses_at_once(serve, bounded, pool):
    def ask(protocol: str, seeds: list[int]) -> list[bytes]:
        with Client(served, protocol) as client:
            return client.images(seeds)

    # Without the cache, where the second protocol would find what the first one drew.
    with serve(bounded, cache_mib=0) as served, ThreadPoolExecutor(16) as threads:
        for protocol, status in UNAVAILABLE.items():
            asked = {threads.submit(ask, protocol, seeds): seeds for seeds in full_batches(pool, 16)}
            answered = list(as_completed(asked, PATIENCE))
            refused = {answer for answer in answered if answer.exception()}
            assert 0 < len(refused) < len(asked)
            for answer in refused:
                with pytest.raises(InferenceServerException, match="Exceeds maximum queue size") as error:
                    answer.result()
                assert error.value.status() == status
            for answer in asked.keys() - refused:
                assert answer.result() == pool.expected(asked[answer])
            # Who is refused does not wait for those in the queue, so one of these is the last.
            assert answered[-1] not in refused


def test_a_request_that_says_how_long_it_waits(serve, bounded):
    with serve(bounded) as served:
        for protocol, status in UNAVAILABLE.items():
            with Client(served, protocol) as client, pytest.raises(InferenceServerException) as refused:
                # Microseconds; a single seed waits longer than that for company.
                client.ask([7], "image", timeout=1)
            assert refused.value.status() == status and "Request timeout expired" in refused.value.message()


def test_a_queue_that_is_too_slow_refuses(serve, bounded, pool):
    set_queue(bounded, "max_queue_size", 256)
    set_queue(bounded, "default_timeout_microseconds", 1000)
    with serve(bounded) as served, Client(served, "grpc") as client, ThreadPoolExecutor(16) as threads:
        asked = {threads.submit(client.images, seeds): seeds for seeds in full_batches(pool, 16)}
        wait(asked, PATIENCE)
        refused = {answer for answer in asked if answer.exception()}
        assert refused
        for answer in refused:
            assert "Request timeout expired" in str(answer.exception())
        for answer in asked.keys() - refused:
            assert answer.result() == pool.expected(asked[answer])
        last = asked[refused.pop()]
        assert client.images(last) == pool.expected(last)


# The server's end, and its processes'.


def test_what_is_in_flight_at_the_end_arrives(digits, pool, tritonserver, tmp_path):
    def ask(seeds: list[int], protocol: str) -> list[bytes]:
        with Client(served, protocol) as client:
            return client.images(seeds)

    def all_arrived() -> bool:
        """Whether for a while all requests but one wait or are answered: that one is run, and not still on its way.

        Between two runs none is run, for a moment.
        """
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            waiting = total(served, "nv_inference_pending_request_count", model=MODEL)
            if waiting + answered() - warm_up < ASKED - 1:
                return False
        return True

    def answered() -> int:
        return total(served, "nv_inference_request_success", model=MODEL)

    with command(digits, tmp_path / "log") as served, ThreadPoolExecutor(ASKED) as threads:
        warm_up = answered()
        asked = {
            threads.submit(ask, seeds, ("grpc", "http-binary")[number % 2]): seeds
            for number, seeds in enumerate(full_batches(pool, ASKED))
        }
        wait_for(all_arrived)
        served.process.send_signal(signal.SIGTERM)
        assert not all(answer.done() for answer in asked)
        for answer, seeds in asked.items():
            assert answer.result(PATIENCE) == pool.expected(seeds)
        assert served.process.wait(60) == 0
        for protocol in ("grpc", "http-binary"):
            with pytest.raises((InferenceServerException, OSError)):
                ask(pool.seeds[:1], protocol)


def says_why(error: Exception) -> bool:
    """Whether it is the server's word for it, or the connection's end; not a time-out."""
    if isinstance(error, InferenceServerException):
        return NOT_HEALTHY in error.message() or error.status() == UNAVAILABLE["grpc"]
    return isinstance(error, ConnectionError | HTTPException)


def test_the_engine_is_killed_under_load(digits, pool, tritonserver, tmp_path):
    log = tmp_path / "log"
    with command(digits, log) as served:
        (server,) = children(served.process.pid)
        with neighbours(served, pool) as clients:
            os.kill(stub(server, MODEL), signal.SIGKILL)
            wait_for(lambda: clients.errors)
            right = clients.right
            wait_for(lambda: clients.right > right + 10)
        assert all(says_why(error) for error in clients.errors), clients.errors
    assert "has died: the server is started anew" in log.read_text()
    assert served.process.returncode == 0


# Damaged files.


def replace_weights(repository, content: bytes) -> None:
    """In place, as cp does it: an engine that had mapped the file would compute with the new content."""
    (repository / MODEL / "1" / "artifact" / "weights.bin").write_bytes(content)


@pytest.fixture
def whole_weights(repository):
    return (repository / MODEL / "1" / "artifact" / "weights.bin").read_bytes()


def test_polled_weights_that_are_cut_leave_the_old_ones(serve, repository, whole_weights, pool):
    options = ("--model-control-mode=poll", "--repository-poll-secs=1", ENDS_AT_ONCE)

    def said(words: str) -> bool:
        return any(words in line for line in served.log)

    with serve(repository, extra=options) as served:
        with neighbours(served, pool) as clients:
            replace_weights(repository, whole_weights[:1000])
            wait_for(lambda: said(f"failed to load '{MODEL}'"))
            assert said("weights.bin is missing or changed since the export")
            right = clients.right
            wait_for(lambda: clients.right > right + 5)
            replace_weights(repository, whole_weights)
            # Once at the start, once now.
            wait_for(lambda: sum(f"successfully loaded '{MODEL}'" in line for line in served.log) == 2)
            right = clients.right
            wait_for(lambda: clients.right > right + 5)
        assert not clients.errors


def test_loading_cut_weights_leaves_the_old_ones(serve, repository, whole_weights, pool):
    # ddgan-serve closes model control to everybody, unless it is told who may use it.
    admin = "--grpc-restricted-protocol=model-repository:admin=secret"
    headers = {"triton-grpc-protocol-admin": "secret"}
    options = ("--model-control-mode=explicit", "--load-model=*", admin, ENDS_AT_ONCE)
    with serve(repository, extra=options) as served, Client(served, "grpc") as client:
        with neighbours(served, pool) as clients:
            replace_weights(repository, whole_weights[:1000])
            with pytest.raises(InferenceServerException, match="weights.bin is missing or changed"):
                client.connection.load_model(MODEL, headers)
            right = clients.right
            wait_for(lambda: clients.right > right + 5)
        assert not clients.errors
        replace_weights(repository, whole_weights)
        client.connection.load_model(MODEL, headers)
        assert client.images(pool.seeds[:3]) == pool.expected(pool.seeds[:3])


def test_without_model_control_cut_weights_matter_at_the_next_start(serve, repository, whole_weights, pool, tmp_path):
    with serve(repository) as served, neighbours(served, pool) as clients:
        wait_for(lambda: clients.right)
        known = len(served.log)
        replace_weights(repository, whole_weights[:1000])
        right = clients.right
        wait_for(lambda: clients.right > right + 5)
        assert not any(MODEL in line for line in served.log[known:])
    assert not clients.errors
    log = tmp_path / "log"
    with command(repository, log) as ended:
        assert ended.process.wait(PATIENCE) == 2
    (line,) = log.read_text().splitlines()
    assert line.startswith(f"error: {repository} cannot be served: model {MODEL}: ")
    assert "weights.bin is missing or changed since the export" in line
