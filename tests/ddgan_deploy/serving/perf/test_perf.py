"""What ddgan-perf makes of perf_analyzer's files, the server's counts, and failures; without a server."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.sampler import Knob
from ddgan_deploy.serving import MODEL
from ddgan_deploy.serving.address import Address
from ddgan_deploy.serving.client.statistics import ServerStatistics, Statistics, parse_statistics
from ddgan_deploy.serving.perf import analyzer as perf_analyzer
from ddgan_deploy.serving.perf import result as perf_result
from ddgan_deploy.serving.perf import run as perf
from ddgan_deploy.serving.perf.analyzer import Client, Load, LoadError

GRPC, HTTP = Address("grpc", "127.0.0.1", 8001), Address("http", "::1", 8000)
# Recorded from perf_analyzer 2.60.
GRPC_CSV = (
    "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,"
    "Server Compute Infer,Server Compute Output,Server Cache Hit,Server Cache Miss,Client Recv,p50 latency,"
    "p90 latency,p95 latency,p99 latency,Avg latency,request/response,response wait\n"
    "4,164.929,6,595,10279,50,12573,626,0,18,10,24301,28640,32996,52491,24162,16,24124\n"
)
QUEUE_FULL = """\
Failed to maintain requested inference load. Worker thread(s) failed to generate concurrent requests.
Thread [0] had error: [request id: <id_unknown>] Exceeds maximum queue size

Thread [3] had error: [request id: <id_unknown>] Exceeds maximum queue size


"""
UNREACHABLE = """\
error: failed to get model metadata: failed to connect to all addresses; last error: UNKNOWN: Connection refused

"""
# The server's statistics of one model version: over HTTP, and over gRPC, which has numbers as text and no zeros.
COUNTS = {
    "name": MODEL,
    "inference_count": 40,
    "execution_count": 10,
    "inference_stats": {
        "success": {"count": 50, "ns": 1000},
        "fail": {"count": 0, "ns": 0},
        "queue": {"count": 50, "ns": 250},
        "compute_input": {"count": 40, "ns": 10},
        "compute_infer": {"count": 40, "ns": 600},
        "compute_output": {"count": 40, "ns": 40},
        "cache_hit": {"count": 10, "ns": 5},
        "cache_miss": {"count": 40, "ns": 5},
    },
}
GRPC_COUNTS = {
    "name": MODEL,
    "inference_count": "3",
    "inference_stats": {"success": {"count": "3", "ns": "9"}, "fail": {}, "queue": {"count": "3", "ns": "2"}},
}
FAKE = """#!/bin/sh
echo "$@" >> {log}
while [ $# -gt 0 ]; do
    case $1 in
        -f) table=$2;;
        --profile-export-file) requests=$2;;
        --input-data) head -c 40 "$2" >> {log}; echo >> {log};;
        --concurrency-range) level=$2;;
    esac
    shift
done
if [ "$level" = {fails_at} ]; then
    echo "Thread [0] had error: gone" >&2
    exit {code}
fi
[ -z "$table" ] || {{ cp {table} "$table"; cp {requests} "$requests"; }}
"""


class FakeStatistics:
    """A server that drew four images in two runs between any two looks at it."""

    gone = False

    def __init__(self, address: Address) -> None:
        self.looks = 0

    def __enter__(self) -> FakeStatistics:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def check(self, model: str) -> str:
        return "triton 2.51.0"

    def knobs(self, model: str) -> tuple[Knob, ...]:
        return (Knob("label", "int64", (1,), -1, 9, -1), Knob("low_res", "uint8", (2, 2, 1), 0, 255, 0))

    def drawn_by(self, model: str) -> tuple[str, int]:
        return model, 1

    def read(self, model: str) -> Statistics:
        assert model == MODEL
        if self.gone and self.looks:
            raise GateError("the server no longer answers")
        self.looks += 1
        return Statistics(
            self.looks * 4, 0, self.looks * 4, self.looks * 2, self.looks * 100, 25 * self.looks, self.looks
        )


def profile(seeds: list[int], output: object = None) -> dict[str, object]:
    requests = [{"timestamp": 1, "request_inputs": {"seed": seed}, "response_outputs": output} for seed in seeds]
    return {"experiments": [{"requests": requests, "window_boundaries": [1, 2]}], "version": "0.0.0"}


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A perf_analyzer that answers with recorded files and keeps a log; ``fake(3)`` fails at concurrency 3."""
    table, requests = tmp_path / "recorded.csv", tmp_path / "recorded.json"
    table.write_text(GRPC_CSV)
    requests.write_text(json.dumps(profile([5, 6, 7], [{"image": [0] * 256}])))
    monkeypatch.setattr(perf, "ServerStatistics", FakeStatistics)

    def make(fails_at: int = 0, code: int = 99) -> Path:
        program, log = tmp_path / "perf_analyzer", tmp_path / "log"
        program.write_text(FAKE.format(log=log, table=table, requests=requests, fails_at=fails_at, code=code))
        program.chmod(0o755)
        monkeypatch.setattr(perf, "find_perf_analyzer", lambda: (str(program),))
        return log

    return make


def test_one_row_of_the_table(tmp_path):
    path = tmp_path / "grpc-4.csv"
    path.write_text(GRPC_CSV)
    assert perf_analyzer.parse(path, 595) == Client(595, 164.929, 24.301, 28.640, 32.996, 52.491)


def test_pixels_are_dropped_even_where_they_are_no_text(tmp_path):
    path = tmp_path / "requests.json"
    text = json.dumps(profile([5, 6, 2**63 - 1], [{"image": [1, 2], "png": "?"}]))
    path.write_bytes(text.encode().replace(b'"?"', b'"\x89PNG\\r\xff\\"}]"'))
    assert perf_analyzer.drop_pixels(path) == 3
    content = json.loads(path.read_text())
    assert content["version"] == "0.0.0" and content["experiments"][0]["window_boundaries"] == [1, 2]
    assert [request["request_inputs"]["seed"] for request in content["experiments"][0]["requests"]] == [5, 6, 2**63 - 1]
    assert "PNG" not in path.read_text() and "response_outputs" not in path.read_text()


@pytest.mark.parametrize(
    ("stderr", "errors", "reason"),
    [
        (QUEUE_FULL, 2, "Exceeds maximum queue size"),
        ("Thread [0] had error: Socket closed\n", 1, "Socket closed"),
        (UNREACHABLE, 0, "failed to get model metadata: failed to connect to all addresses"),
        ("No valid requests recorded within time interval. Please use a larger time window.\n", 0, "longer --duration"),
        ("\n", 0, "gave no reason"),
    ],
)
def test_a_failure_is_one_line(stderr, errors, reason):
    error = perf_analyzer.failure(stderr)
    assert reason in str(error) and "\n" not in str(error)
    assert error.errors == errors


def test_counts_over_both_protocols():
    assert parse_statistics(COUNTS) == Statistics(50, 10, 40, 10, 1000, 250, 650)
    assert parse_statistics(GRPC_COUNTS) == Statistics(requests=3, images=3, total_ns=9, queue_ns=2)


def test_a_level_is_what_was_counted_between_its_ends():
    before = parse_statistics(COUNTS)
    after = before + Statistics(100, 4, 96, 24, 8000, 2000, 5600)
    assert perf_result.summary(after - before) == perf_result.Server(96, 4, 4.0, 0.25, 0.7)
    assert perf_result.summary(after - before, places=2) == perf_result.Server(48, 2, 2.0, 0.25, 0.7)
    assert perf_result.summary(Statistics(requests=3, cache_hits=3, total_ns=8)).mean_batch == 0


OLD_STEPS = [{"model_name": "ddgan_engine"}, {"model_name": "ddgan_engine"}, {"model_name": "ddgan_png"}]


@pytest.mark.parametrize(
    ("config", "draws"),
    [
        ({"name": "ddgan"}, ("ddgan", 1)),
        (
            {"ensemble_scheduling": {"step": [{"model_name": "ddgan"}, {"model_name": "ddgan_encoder"}]}},
            ("ddgan", 1),
        ),
        ({"ensemble_scheduling": {"step": OLD_STEPS}}, ("ddgan_engine", 2)),
    ],
    ids=["engine", "png", "of-before"],
)
@pytest.mark.parametrize("address", [GRPC, HTTP], ids=lambda address: address.protocol)
def test_what_draws_is_what_is_counted(monkeypatch, address, config, draws):
    answer = {"config": config} if address is GRPC else config
    monkeypatch.setattr(ServerStatistics, "_ask", lambda self, name, model: answer)
    with ServerStatistics(address) as server:
        assert server.drawn_by("ddgan") == draws


def test_seeds_that_come_again_are_counted():
    def level(requests: int, hits: int) -> perf_result.Level:
        client = Client(requests, 1.0, 1.0, 1.0, 1.0, 1.0)
        return perf_result.Level("grpc", 1, client, perf_result.Server(0, hits, 0.0, 0.0, 0.0))

    def result(*levels: perf_result.Level) -> perf_result.PerfResult:
        return perf_result.PerfResult("triton", {}, MODEL, MODEL, 1.0, 10, 0, {}, levels)

    failed = perf_result.Level("grpc", 1, None, None, 1, "gone")
    assert result(level(10, 0), level(9, 0), failed).repeated == 0
    assert result(level(14, 0), level(13, 0)).repeated == 7
    assert result(level(10, 5)).repeated == 5


def test_every_level_is_measured_with_seeds_of_its_own(fake, tmp_path):
    log, out = fake(), tmp_path / "out"
    result = perf.run(perf.PerfOptions((GRPC, HTTP), out, (1, 8), seconds=3, seeds=10, first_seed=100, warm_up=5))
    lines = log.read_text().splitlines()
    commands, seeds = lines[::2], [int(line.split("[")[2].split("]")[0]) for line in lines[1::2]]
    assert seeds == [100, 110, 120, 130, 140, 150]
    assert [("--request-count 5" in command) for command in commands] == [True, False, False, True, False, False]
    for command in commands:
        assert f"-m {MODEL} --sync --concurrency-range" in command
    assert commands[1].startswith("-i grpc -u 127.0.0.1:8001 ") and commands[4].startswith("-i http -u [::1]:8000 ")
    assert "--measurement-interval 1000 " in commands[1] and "--warmup-request-count" not in commands[1]
    assert [(level.protocol, level.concurrency) for level in result.levels] == [
        ("grpc", 1),
        ("grpc", 8),
        ("http", 1),
        ("http", 8),
    ]
    assert {level.client for level in result.levels} == {Client(3, 164.929, 24.301, 28.640, 32.996, 52.491)}
    assert {level.server for level in result.levels} == {perf_result.Server(4, 0, 2.0, 0.25, 0.01)}


def test_requests_take_turns_at_the_values_of_a_knob(fake, tmp_path, monkeypatch):
    files, write = [], perf.write_requests

    def kept(path, *rest):
        write(path, *rest)
        files.append(json.loads(path.read_text())["data"])

    monkeypatch.setattr(perf, "write_requests", kept)
    fake()
    knobs = {"label": [3, 1, 4], "low_res": np.arange(8).reshape(2, 2, 2, 1)}
    options = perf.PerfOptions((GRPC,), tmp_path / "out", (1,), seeds=5, first_seed=10, warm_up=0, knobs=knobs)
    assert perf.run(options).knobs == {"label": [1, 3, 4], "low_res": "2 pictures, uint8 [2, 2, 1]"}
    (data,) = files
    assert [each["seed"] for each in data] == [[10], [11], [12], [13], [14]]
    assert [each["label"] for each in data] == [[3], [1], [4], [3], [1]]
    pictures = [base64.b64decode(each["low_res"]["b64"]) for each in data]
    first, second = bytes([0, 1, 2, 3]), bytes([4, 5, 6, 7])
    assert pictures == [first, second, first, second, first]


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"pitch": 1}, "there is no knob pitch"),
        ({"label": [3, 10]}, "label 10 is out of range"),
        ({"label": []}, "label holds no value"),
    ],
)
def test_a_wrong_knob_is_refused_before_anything_is_measured(fake, tmp_path, knobs, says):
    log = fake()
    with pytest.raises(InputError, match=says):
        perf.run(perf.PerfOptions((GRPC,), tmp_path / "out", knobs=knobs))
    assert not log.exists() and not (tmp_path / "out").exists()


def test_more_pictures_than_perf_analyzer_can_read_are_refused(tmp_path):
    pictures = {"low_res": np.zeros((1, 256, 256, 3), np.uint8)}
    with pytest.raises(InputError, match="--seeds 10000 with their low_res fill a gigabyte: give at most 4"):
        perf_analyzer.write_requests(tmp_path / "file", range(10_000), pictures)
    assert not list(tmp_path.iterdir())


def test_the_folder_holds_perf_analyzers_files_the_result_and_a_picture(fake, tmp_path):
    fake()
    out = tmp_path / "out"
    result = perf.run(perf.PerfOptions((GRPC,), out, (1, 8), first_seed=1, warm_up=0))
    assert sorted(path.name for path in out.iterdir()) == [
        "grpc-1.csv",
        "grpc-1.json",
        "grpc-8.csv",
        "grpc-8.json",
        "perf.json",
        "perf.png",
    ]
    content = json.loads((out / perf.RESULT).read_text())
    assert content["levels"][1]["client"]["p99_ms"] == 52.491
    assert content["first_seed"] == result.first_seed == 1
    assert Image.open(out / perf.PLOT).size[0] >= 1000
    with pytest.raises(InputError, match="--overwrite"):
        perf.run(perf.PerfOptions((GRPC,), out, (2,)))
    perf.run(perf.PerfOptions((GRPC,), out, (2,), overwrite=True))
    assert sorted(path.name for path in out.iterdir()) == ["grpc-2.csv", "grpc-2.json", "perf.json", "perf.png"]


def test_seeds_begin_anywhere(fake, tmp_path):
    fake()
    firsts = {
        perf.run(perf.PerfOptions((GRPC,), tmp_path / str(run), (1,), seeds=4, warm_up=0)).first_seed
        for run in range(2)
    }
    assert len(firsts) == 2 and all(0 <= first < 2**63 - 4 for first in firsts)


@pytest.mark.parametrize("code", [99, 0])
def test_a_level_that_fails_is_a_row_and_the_others_are_measured(fake, tmp_path, code):
    fake(fails_at=8, code=code)
    result = perf.run(perf.PerfOptions((GRPC,), tmp_path / "out", (1, 8, 16)))
    assert [level.client is None for level in result.levels] == [False, True, False]
    assert [(level.concurrency, level.errors, level.reason) for level in result.failures] == [(8, 1, "gone")]
    assert (tmp_path / "out" / perf.RESULT).is_file()


def test_nothing_is_left_where_no_level_could_be_measured(fake, tmp_path):
    fake(fails_at=8)
    with pytest.raises(GateError, match="grpc at concurrency 8 failed: gone"):
        perf.run(perf.PerfOptions((GRPC,), tmp_path / "a" / "out", (8,)))
    assert not (tmp_path / "a").exists()


def test_nothing_is_left_where_the_server_goes(fake, tmp_path, monkeypatch):
    fake(fails_at=8)
    monkeypatch.setattr(FakeStatistics, "gone", True)
    with pytest.raises(GateError, match="no longer answers"):
        perf.run(perf.PerfOptions((GRPC,), tmp_path / "a" / "out", (8,)))
    assert not (tmp_path / "a").exists()


def test_a_warm_up_that_fails_says_so(fake, tmp_path):
    fake(fails_at=1)
    with pytest.raises(GateError, match="the warm-up over grpc failed: gone"):
        perf.run(perf.PerfOptions((GRPC,), tmp_path / "out", (8,)))


def test_files_of_others_are_not_replaced(fake, tmp_path):
    fake()
    (tmp_path / "of_others").touch()
    with pytest.raises(InputError, match="no folder of ddgan-perf"):
        perf.run(perf.PerfOptions((GRPC,), tmp_path, overwrite=True))
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="symbolic link"):
        perf.run(perf.PerfOptions((GRPC,), link, overwrite=True))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"addresses": (GRPC, GRPC)}, "one --url for each protocol"),
        ({"addresses": (Address("grpc", "a", 1, tls=True),)}, "encrypted"),
        ({"concurrency": (0,)}, "--concurrency"),
        ({"concurrency": (4, 4)}, "twice"),
        ({"concurrency": (perf.MAX_CONCURRENCY + 1,)}, "--concurrency"),
        ({"seeds": 3, "concurrency": (4,)}, "--seeds 3"),
        ({"first_seed": -1}, "--first-seed -1"),
        ({"first_seed": 2**63 - 1}, "--first-seed"),
        ({"seconds": 0.0}, "--duration"),
        ({"seconds": float("nan")}, "--duration"),
        ({"warm_up": -1}, "--warmup"),
    ],
)
def test_wrong_options(tmp_path, wrong, message):
    options = {"addresses": (GRPC,), "out": tmp_path / "out", **wrong}
    with pytest.raises(InputError, match=message):
        perf.run(perf.PerfOptions(**options))


def test_an_analyzer_that_hangs_is_ended_with_its_children(tmp_path, monkeypatch):
    pid = tmp_path / "pid"
    program = tmp_path / "perf_analyzer"
    # As the package's own script, which starts the program as a child.
    program.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {pid}\nwait\n")
    program.chmod(0o755)
    monkeypatch.setattr(perf_analyzer, "_PATIENCE", 0.5)
    load = Load(GRPC, MODEL, 1, tmp_path / "seeds.json")
    with pytest.raises(LoadError, match="did not end"):
        perf_analyzer.measure([str(program)], load, 0.1, tmp_path / "a.csv", tmp_path / "a.json")
    assert _ends(int(pid.read_text()))


def _ends(pid: int) -> bool:
    for _ in range(100):
        with contextlib.suppress(FileNotFoundError):
            # Ended, but not yet waited for by whoever has inherited it.
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        if not os.path.exists(f"/proc/{pid}"):
            return True
        time.sleep(0.05)
    return False
