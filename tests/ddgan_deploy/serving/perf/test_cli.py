"""ddgan-perf: the real perf_analyzer against a real server, and what the command says."""

from __future__ import annotations

import json
import os

import pytest

from ddgan_deploy.cli import perf as command
from ddgan_deploy.errors import InputError
from ddgan_deploy.serving import ENCODER_MODEL, MODEL, PNG_MODEL
from ddgan_deploy.serving.address import Address
from ddgan_deploy.serving.client.statistics import ServerStatistics
from ddgan_deploy.serving.installed import find_perf_analyzer
from ddgan_deploy.serving.perf import result as perf_result
from ddgan_deploy.serving.perf import run as perf
from ddgan_deploy.serving.perf.analyzer import Client


@pytest.fixture(scope="module")
def perf_analyzer() -> None:
    """Where continuous integration runs, its absence is a failure."""
    try:
        find_perf_analyzer()
    except InputError as error:
        pytest.fail(str(error)) if "CI" in os.environ else pytest.skip(str(error))


def address(protocol: str, netloc: str) -> Address:
    host, _, port = netloc.rpartition(":")
    return Address(protocol, host, int(port))


def test_both_protocols_give_a_sane_result(perf_analyzer, server, tmp_path, capsys):
    with ServerStatistics(address("http", server.http)) as statistics:
        before = statistics.read(MODEL)
        urls = ["--url", server.grpc, "--url", server.http]
        arguments = [
            "--concurrency",
            "1,4",
            "--duration",
            "1.5",
            "--seeds",
            "10000",
            "--warmup",
            "4",
            "--out",
            str(tmp_path / "out"),
        ]
        assert command.main([*urls, *arguments]) == 0
        drawn = statistics.read(MODEL) - before
    result = json.loads((tmp_path / "out" / perf.RESULT).read_text())
    levels = result["levels"]
    assert [(level["protocol"], level["concurrency"]) for level in levels] == [
        ("grpc", 1),
        ("grpc", 4),
        ("http", 1),
        ("http", 4),
    ]
    seeds: list[int] = []
    for level in levels:
        client, counted = level["client"], level["server"]
        assert level["errors"] == 0 and not level["reason"]
        assert client["images_per_s"] > 0
        assert 0 < client["p50_ms"] <= client["p90_ms"] <= client["p95_ms"] <= client["p99_ms"]
        assert 1 <= counted["mean_batch"] <= level["concurrency"]
        assert 0 <= counted["queue_share"] < 1 and 0 < counted["compute_share"] <= 1
        assert counted["queue_share"] + counted["compute_share"] <= 1
        # The server also drew what came in before and after the measurement.
        assert counted["cache_hits"] == 0 and counted["images"] >= client["requests"] > 0
        stem = f"{level['protocol']}-{level['concurrency']}"
        assert (tmp_path / "out" / f"{stem}.csv").is_file()
        requests = json.loads((tmp_path / "out" / f"{stem}.json").read_text())["experiments"][0]["requests"]
        seeds += [request["request_inputs"]["seed"] for request in requests]
    assert len(set(seeds)) == len(seeds) == sum(level["client"]["requests"] for level in levels)
    # Four requests to warm up for each protocol.
    assert drawn.images == sum(level["server"]["images"] for level in levels) + 8
    said = capsys.readouterr()
    assert "note: " not in said.err
    rows = [line.split() for line in said.out.splitlines()]
    assert [(row[0], row[1], row[-1]) for row in rows if row and row[0] in ("grpc", "http")] == [
        ("grpc", "1", "0"),
        ("grpc", "4", "0"),
        ("http", "1", "0"),
        ("http", "4", "0"),
    ]


def test_seeds_that_come_again_are_told_of(perf_analyzer, server, tmp_path, capsys):
    arguments = ["--url", server.http, "--seeds", "4", "--concurrency", "2", "--duration", "1.5", "--warmup", "0"]
    assert command.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    level = json.loads((tmp_path / "out" / perf.RESULT).read_text())["levels"][0]
    again = level["client"]["requests"] - 4
    assert f"note: {again} requests asked for images that had been drawn before" in capsys.readouterr().err


def test_png_files_are_counted_by_what_draws_and_no_proxy_is_asked(perf_analyzer, server, tmp_path, monkeypatch):
    arguments = ["--url", f"http://{server.http}", "--model", PNG_MODEL, "--concurrency", "1", "--duration", "1.5"]
    # What would not reach the server: neither we nor perf_analyzer ask a proxy.
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with ServerStatistics(address("grpc", server.grpc)) as statistics:
        before = statistics.read(ENCODER_MODEL)
        assert command.main([*arguments, "--warmup", "0", "--out", str(tmp_path / "out")]) == 0
        encoded = statistics.read(ENCODER_MODEL) - before
    result = json.loads((tmp_path / "out" / perf.RESULT).read_text())
    assert (result["model"], result["statistics_of"]) == (PNG_MODEL, MODEL)
    counted = result["levels"][0]["server"]
    assert counted["images"] == encoded.images > 0
    assert counted["mean_batch"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "grpc://{server.http}"], "no Triton Inference Server answers at grpc://"),
        (["--url", "{server.grpc}", "--protocol", "http"], "no Triton Inference Server answers at http://"),
        (["--url", "{server.grpc}", "--model", "nothing"], "does not serve the model nothing"),
        (["--url", "{server.http}", "--model", ENCODER_MODEL], "takes something else than a seed"),
    ],
)
def test_a_server_that_cannot_be_asked_is_a_wrong_input(perf_analyzer, server, tmp_path, capsys, arguments, message):
    filled = [argument.format(server=server) for argument in arguments]
    assert command.main([*filled, "--out", str(tmp_path / "a" / "out")]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("text", "levels"),
    [("4", (4,)), ("16,1,2", (16, 1, 2)), ("1:4", (1, 2, 3, 4)), ("2:9:3", (2, 5, 8)), ("1:16:15", (1, 16))],
)
def test_levels_of_concurrency(monkeypatch, text, levels):
    asked = []
    monkeypatch.setattr(perf, "run", lambda options, progress: asked.append(options) or _result())
    assert command.main(["--url", "grpc://127.0.0.1:1", "--concurrency", text]) == 0
    assert asked[0].concurrency == levels


@pytest.mark.parametrize("text", ["", "a", "1,", "4:1", "1:4:0", "1:2:3:4", "-1", "1-4"])
def test_levels_that_are_none(capsys, text):
    assert command.main(["--url", "grpc://127.0.0.1:1", f"--concurrency={text}"]) == 2
    assert "names no levels" in capsys.readouterr().err


def test_a_failed_level_is_named_in_the_table_and_ends_in_1(monkeypatch, capsys):
    failed = perf_result.Level("grpc", 16, None, None, 14, "Exceeds maximum queue size")
    monkeypatch.setattr(perf, "run", lambda options, progress: _result(failed))
    assert command.main(["--url", "grpc://127.0.0.1:1"]) == 1
    said = capsys.readouterr()
    assert "14 (Exceeds maximum queue size)" in said.out
    assert said.err == "error: grpc at concurrency 16 failed: Exceeds maximum queue size\n"


def test_no_perf_analyzer(monkeypatch, tmp_path, capsys):
    def missing() -> tuple[str, ...]:
        raise InputError("there is no perf_analyzer on PATH: get one")

    monkeypatch.setattr(perf, "find_perf_analyzer", missing)
    assert command.main(["--url", "grpc://127.0.0.1:1", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "error: there is no perf_analyzer on PATH: get one\n"


def _result(*levels: perf_result.Level) -> perf_result.PerfResult:
    measured = perf_result.Level(
        "grpc", 1, Client(5, 10.0, 1.0, 2.0, 3.0, 4.0), perf_result.Server(5, 0, 1.0, 0.1, 0.8)
    )
    return perf_result.PerfResult("triton 2.51.0", {"grpc": ":1"}, MODEL, MODEL, 1.0, 5, 0, {}, (measured, *levels))
