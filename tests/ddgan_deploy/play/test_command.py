"""ddgan-play: its options, how it starts and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from ddgan_deploy.cli import play
from ddgan_deploy.play import web
from ddgan_deploy.serving.client import asynchronous
from tests.ddgan_deploy.play.browsing import playing
from tests.ddgan_deploy.serving.stand_in import stand_in


def refused(capsys, *arguments):
    """What the command says of a wrong input."""
    assert play.main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give either DIR"),
        (["digits", "--url", "http://127.0.0.1:1"], "give either DIR"),
        (["--url", "http://127.0.0.1:1", "--portable"], "leave out --engine"),
        (["--url", "http://127.0.0.1:1", "--threads", "2"], "--threads"),
        (["--url", "ftp://127.0.0.1:1"], "ftp://"),
        (["--url", "http://127.0.0.1:1", "--timeout", "0"], "timeout 0.0 is out of range"),
        (["digits", "--timeout", "5"], "give it with --url"),
        (["digits", "--port", "65536"], "--port 65536 is out of range: give 1..65535, or 0"),
        (["digits", "--port", "many"], "--port"),
        (["digits", "--host", "no host"], "--host 'no host' is unknown"),
        (["digits", "--host", "192.0.2.1"], "--host 192.0.2.1 --port 0 cannot be listened at"),
        (["absent"], "absent"),
        (["absent", "--engine", "fast"], "absent"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line(arguments, says, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert says in refused(capsys, *(arguments if "--port" in arguments else [*arguments, "--port", "0"]))
    assert not list(tmp_path.iterdir())


def test_an_engine_that_is_unknown(capsys, toy):
    assert "engine 'fast' is unknown" in refused(capsys, toy, "--engine", "fast", "--port", "0")


def test_a_port_that_is_taken(capsys, toy):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        says = f"--host 127.0.0.1 --port {port} cannot be listened at (Address already in use): give another port"
        assert says in refused(capsys, toy, "--port", port)


def test_without_gradio(capsys, toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refused(capsys, toy, "--port", "0") == (
        'error: ddgan-play needs Gradio 6: pip install "ddgan-deploy[play]"\n'
    )


def test_a_broken_gradio(capsys, toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert 'pip install "ddgan-deploy[play]"' in refused(capsys, toy, "--port", "0")


def test_an_old_gradio(capsys, toy, monkeypatch):
    monkeypatch.setattr("gradio.__version__", "5.49.1")
    says = 'error: ddgan-play needs Gradio 6 (5.49.1 is installed): pip install "ddgan-deploy[play]"'
    assert says in refused(capsys, toy, "--port", "0")


def test_a_server_that_tells_no_size(capsys):
    with stand_in("http") as server:
        assert "does not tell the size of its images" in refused(capsys, "--url", server.url, "--port", "0")


@pytest.mark.parametrize("scheme", ["", "http://", "grpc://"])
def test_nobody_at_the_url(capsys, monkeypatch, scheme):
    monkeypatch.setattr(asynchronous, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(asynchronous, "LONGEST_PAUSE", 0.001)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"{scheme}127.0.0.1:{closed.getsockname()[1]}"
    assert f"nobody answers at {address}" in refused(capsys, "--url", address, "--port", "0")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_says_where_and_signals_end_it(toy, number):
    with playing(toy, "--engine", "onnxruntime-portable") as (process, url):
        config = json.load(urllib.request.urlopen(f"{url}/config"))
        assert not config["analytics_enabled"]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}/files/x/grid.png")
        process.send_signal(number)
        assert process.wait(30) == 0
        assert process.stdout.read() == ""
        assert "Traceback" not in process.stderr.read()


def test_an_address_of_ipv6():
    with web.bound("::1", 0) as listening:
        assert web.address_of(listening) == f"http://[::1]:{listening.getsockname()[1]}"


def test_help_imports_nothing_heavy():
    code = """
import sys
from ddgan_deploy.cli import play
try:
    play.main(["--help"])
except SystemExit:
    pass
assert not {"numpy", "gradio", "tritonclient", "PIL", "onnxruntime", "torch"} & set(sys.modules)
"""
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert all(flag in shown for flag in ("--url", "--host", "--port", "--engine", "--threads"))
