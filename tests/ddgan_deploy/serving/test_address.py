"""Addresses: what is read from a text, and what is asked of a port."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.serving import address as module
from ddgan_deploy.serving.address import Address, parse_url
from tests.ddgan_deploy.serving.stand_in import PROTOCOLS, stand_in


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:8000", Address("http", "127.0.0.1", 8000)),
        ("http://127.0.0.1:8000/", Address("http", "127.0.0.1", 8000)),
        ("GRPC://Triton.example.org:65535", Address("grpc", "triton.example.org", 65535)),
        ("grpc://[::1]:8001", Address("grpc", "::1", 8001)),
        ("https://my_pod-0.svc:443", Address("http", "my_pod-0.svc", 443, tls=True)),
        ("grpcs://h:1", Address("grpc", "h", 1, tls=True)),
    ],
)
def test_a_url_says_it_all(text, expected):
    assert parse_url(text) == expected
    assert parse_url(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8000",
        "localhost",
        "localhost:",
        ":8000",
        "localhost:0",
        "localhost:65536",
        "localhost:http",
        "local host:8000",
        "localhost:80\n00",
        "-h:8000",
        "::1:8000",
        "[::1:8000",
        "[127.0.0.1]:8000",
        "http://localhost",
        "http://localhost:8000/v2",
        "http://localhost:8000?x=1",
        "http://localhost:8000#x",
        "http://me:secret@localhost:8000",
        "http://http://localhost:8000",
        "ftp://localhost:8000",
        "://localhost:8000",
    ],
)
def test_a_wrong_url_is_refused_without_asking_anyone(text, monkeypatch):
    monkeypatch.setattr(module, "_spoken", lambda host, port: pytest.fail("asked"))
    with pytest.raises(InputError, match=r"http://HOST:PORT or grpc://HOST:PORT"):
        parse_url(text)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_port_is_asked_what_it_speaks(protocol):
    with stand_in(protocol) as server:
        assert str(parse_url(server.url.removeprefix(f"{protocol}://"))) == server.url


def test_a_running_server_is_asked_what_it_speaks(server):
    assert parse_url(server.http).protocol == "http"
    assert parse_url(server.grpc).protocol == "grpc"


def test_nobody_listening_is_said_with_the_remedy():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(InputError, match=r"nobody answers at 127\.0\.0\.1:\d+ \(Connection refused\).*ddgan-serve"):
            parse_url(f"127.0.0.1:{unused.getsockname()[1]}")


def test_a_port_that_keeps_silent_is_not_guessed_at(monkeypatch):
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(InputError, match=rf"give http://127\.0\.0\.1:{port} or grpc://127\.0\.0\.1:{port}"):
            parse_url(f"127.0.0.1:{port}")


def test_a_port_that_hangs_up_speaks_no_http():
    def hang_up(listening: socket.socket) -> None:
        listening.accept()[0].close()

    with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.ExitStack() as stack:
        thread = threading.Thread(target=hang_up, args=(listening,))
        thread.start()
        stack.callback(thread.join)
        assert parse_url(f"127.0.0.1:{listening.getsockname()[1]}").protocol == "grpc"
