"""Every client of ours reaches a server on IPv6, and none asks a proxy, whatever the environment says."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.errors import InputError
from ddgan_deploy.serving import MODEL
from ddgan_deploy.serving.address import parse_url
from ddgan_deploy.serving.client import Client
from ddgan_deploy.serving.client.statistics import ServerStatistics
from ddgan_deploy.serving.installed import find_perf_analyzer
from ddgan_deploy.serving.perf import analyzer as perf_analyzer
from tests.ddgan_deploy.serving.conftest import Serve, Served

ALIVE = Path(__file__).parents[4] / "deploy" / "alive.py"
PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture(scope="module", autouse=True)
def asked() -> Iterator[list[str]]:
    """What a proxy is asked that the environment names for everything; nothing, when all tests are done."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            asked.append(self.rfile.readline(1000).decode(errors="replace"))
            self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server, pytest.MonkeyPatch.context() as environment:
        Thread(target=server.serve_forever).start()
        for name in PROXIES:
            environment.setenv(name, f"http://127.0.0.1:{server.server_port}")
        environment.delenv("no_proxy", raising=False)
        environment.delenv("NO_PROXY", raising=False)
        yield asked
        server.shutdown()


@pytest.fixture(autouse=True)
def _nobody_asked_a_proxy(asked: list[str]) -> Iterator[None]:
    yield
    assert asked == []


@pytest.fixture(scope="module", params=["::1", "::"])
def server(serve: Serve, request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server that was started, and asked whether it is ready, with these proxies."""
    with serve(host=request.param) as served:
        assert served.http.startswith("[::1]:")
        yield served


def address(server: Served, protocol: str) -> str:
    return {"http": server.http, "grpc": server.grpc}[protocol]


@pytest.mark.parametrize("with_scheme", [True, False])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_images(server, digits, protocol, with_scheme):
    url = f"{protocol}://" * with_scheme + address(server, protocol)
    with Client(url, timeout=30, retries=0) as client:
        np.testing.assert_array_equal(client.generate([3]), open_artifact(digits).generate([3]))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_statistics(server, protocol):
    with ServerStatistics(parse_url(f"{protocol}://{address(server, protocol)}")) as statistics:
        assert statistics.check(MODEL).startswith("ddgan_")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_load(server, protocol, tmp_path):
    try:
        program = find_perf_analyzer()
    except InputError as error:
        pytest.skip(str(error))
    perf_analyzer.write_requests(tmp_path / "seeds", [0, 1], {})
    load = perf_analyzer.Load(parse_url(f"{protocol}://{address(server, protocol)}"), MODEL, 1, tmp_path / "seeds")
    perf_analyzer.warm_up(program, load, 2)


def test_the_probe_of_a_pod(server):
    assert subprocess.run([sys.executable, "-I", str(ALIVE), f"http://{server.http}"], timeout=60).returncode == 0


def test_metrics(server):
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    assert b"ddgan_images_total" in direct.open(f"http://{server.metrics}/metrics", timeout=10).read()
