"""The proxy's rules against the names that are served, and against requests; HAProxy itself is not run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as http_client
from tritonclient.grpc import service_pb2

from ddgan_deploy.cli.serve import curl_line
from ddgan_deploy.serving import ENCODER_MODEL, MODEL, PNG_MODEL
from ddgan_deploy.serving.server.command_line import MOST_REQUEST_BYTES
from ddgan_deploy.serving.server.options import ServerOptions

CONFIG = (Path(__file__).parents[2] / "deploy" / "proxy" / "haproxy.cfg").read_text()
FRONTENDS = {
    name: CONFIG.split(f"\nfrontend {name}\n")[1].split("\nfrontend ")[0].split("\nbackend ")[0]
    for name in ("http", "grpc")
}
INPUT = {"name": "seed", "shape": [1, 1], "datatype": "INT64", "data": [3]}


def acl(frontend: str, name: str) -> list[str]:
    """What one of the access lists names."""
    (line,) = re.findall(rf"^    acl {name} \S+ (.+)$", FRONTENDS[frontend], re.MULTILINE)
    return str(line).split()


def refused(body: bytes) -> bool:
    """Whether a rule on the body's text refuses it."""
    rules = re.findall(r"req\.body -m reg '(.+)' }", FRONTENDS["http"])
    assert len(rules) == 2
    return any(re.search(rule.encode(), body) for rule in rules)


def test_what_is_let_through():
    models = (MODEL, PNG_MODEL)
    assert acl("http", "infer") == [f"/v2/models/{model}/infer" for model in models]
    assert acl("http", "about") == [f"/v2/models/{model}/config" for model in models]
    ready = [f"/v2/models/{model}/ready" for model in models]
    assert acl("http", "ready") == ["/v2/health/live", "/v2/health/ready", *ready]
    # Exact paths, so that nothing can follow them.
    assert re.findall(r"^    acl \w+ (\S+)", FRONTENDS["http"], re.MULTILINE) == ["path"] * 3
    assert "deny deny_status 404 unless infer or about or ready" in FRONTENDS["http"]
    assert ENCODER_MODEL not in CONFIG


def test_which_methods_of_grpc_are_let_through():
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert acl("grpc", "service") == [f"/{service.full_name}/"]
    let_through = {
        method.name
        for method in service.methods
        if any(f"/{service.full_name}/{method.name}".endswith(end) for end in acl("grpc", "method"))
    }
    assert let_through == {"ModelInfer", "ModelReady", "ModelConfig", "ServerLive", "ServerReady"}
    assert "deny deny_status 404 unless service method" in FRONTENDS["grpc"]


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_a_body_is_held_whole_and_is_as_large_as_the_servers_own_limit_allows(frontend):
    limits = re.findall(r"req\.body_(?:size|len) gt (\d+)", FRONTENDS[frontend])
    assert limits == [str(MOST_REQUEST_BYTES)] * 2
    (buffer,) = re.findall(r"tune\.bufsize (\d+)", CONFIG)
    assert int(buffer) >= MOST_REQUEST_BYTES + 16384
    assert "option http-buffer-request" in CONFIG


def test_the_server_is_reached_on_this_machine():
    options = ServerOptions(Path("models"))
    assert re.findall(r"^    server \S+ (\S+)", CONFIG, re.MULTILINE) == [options.http, options.grpc]


def body_of_client(seeds: int) -> bytes:
    """As tritonclient sends it, seeds as a binary tensor with all kinds of bytes."""
    values = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, (seeds, 1))
    tensor = http_client.InferInput("seed", [seeds, 1], "INT64").set_data_from_numpy(values)
    body, _ = http_client.InferenceServerClient.generate_request_body([tensor])
    return bytes(body)


@pytest.mark.parametrize(
    "body",
    [
        body_of_client(1),
        body_of_client(5000),
        curl_line(ServerOptions(Path("models"))).split("-d '")[1].rstrip("'").encode(),
        json.dumps({"inputs": [INPUT]}).encode(),
        json.dumps({"inputs": [INPUT]}, indent=2).encode(),
        json.dumps({"inputs": [INPUT]}, separators=(",", ":")).encode(),
        json.dumps({"inputs": [{**INPUT, "shape": [9999, 1]}, {**INPUT, "name": "label"}]}).encode(),
    ],
)
def test_what_clients_send_passes(body):
    assert len(body) <= MOST_REQUEST_BYTES
    assert not refused(body)


@pytest.mark.parametrize(
    "shape",
    [[10_000, 1], [2**31, 1], [2**32, 1], [2**61 + 1, 1], [1, 2**32], [9999, 9999], [9999, 1, 9999], [-1, 1], [1e9, 1]],
)
@pytest.mark.parametrize(
    "written",
    [lambda text: text, lambda text: text.replace("shape", r"\u0073hape"), lambda text: text.replace(" ", "")],
)
def test_a_shape_that_the_server_would_make_room_for_is_refused(shape, written):
    wrong = {**INPUT, "shape": shape}
    assert refused(written(json.dumps({"inputs": [wrong]})).encode())
    # Of several inputs each counts.
    assert refused(written(json.dumps({"inputs": [INPUT, {**wrong, "name": "x"}]})).encode())
    assert refused(written(json.dumps({"inputs": [wrong, INPUT]})).encode())


def test_of_two_shapes_both_count():
    twice = json.dumps({"inputs": [INPUT]}).replace('"shape"', '"shape": [4294967296, 1], "shape"')
    assert refused(twice.encode())
