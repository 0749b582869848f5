"""A real Triton Inference Server with the bundled digits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.serving.server.launch import RunningServer, started
from ddgan_deploy.serving.server.options import ServerOptions
from ddgan_deploy.serving.server.tritonserver import found_server
from tests.exports import Exports

Serve = Callable[..., contextlib.AbstractContextManager["Served"]]


@dataclass(frozen=True)
class Served:
    """A server that is ready.

    Attributes:
        http, grpc, metrics: HOST:PORT.
        artifact: what it serves.
        pid: of the server.
        running: the server.
        log: lines that it said since it was ready.
    """

    http: str
    grpc: str
    metrics: str
    artifact: Path
    pid: int
    running: RunningServer
    log: list[str]


@pytest.fixture(scope="session")
def tritonserver() -> None:
    """Where continuous integration runs, a missing server is a failure."""
    try:
        with found_server():
            pass
    except InputError as error:
        pytest.fail(str(error)) if "CI" in os.environ else pytest.skip(str(error))


@pytest.fixture(scope="session")
def digits(exports: Exports) -> Path:
    """The bundled checkpoint as an artifact."""
    return exports.digits().path


@pytest.fixture(scope="session")
def serve(tritonserver: None, digits: Path) -> Serve:
    """Starts a server on free ports: ``serve(repository=..., extra=(...), cache_mib=...)``."""

    @contextlib.contextmanager
    def serving(repository: Path = digits, **options: object) -> Iterator[Served]:
        log: list[str] = []
        wanted = ServerOptions(repository, http_port=0, grpc_port=0, metrics_port=0, **options)
        with started(wanted, log.append) as running:
            running.wait_ready()
            ports = running.options
            yield Served(ports.http, ports.grpc, ports.metrics, repository, running.process.pid, running, log)

    return serving


@pytest.fixture(scope="session")
def server(serve: Serve) -> Iterator[Served]:
    """One server that tests share."""
    with serve() as served:
        yield served
