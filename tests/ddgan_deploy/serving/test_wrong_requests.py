"""A wrong request gets an error that names the thing; who asks rightly beside it gets the right image."""

from __future__ import annotations

import http.client
import json
import socket
import struct

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from ddgan_deploy.serving import MODEL
from tests.ddgan_deploy.serving.traffic import PATIENCE, Pool, neighbours, wait_for

PATH = f"/v2/models/{MODEL}/infer"
SEED = struct.pack("<q", 3)
SEED_INPUT = {"name": "seed", "shape": [1, 1], "datatype": "INT64", "data": [3]}


@pytest.fixture(scope="module")
def pool(digits):
    return Pool(digits, range(40))


@pytest.fixture(scope="module")
def good_clients(server, pool):
    """One of each protocol; they ask all the while."""
    with neighbours(server, pool) as clients:
        yield clients


@pytest.fixture(autouse=True)
def beside(good_clients):
    """Their answers while a test runs, and after it."""
    yield
    right = good_clients.right
    wait_for(lambda: good_clients.right > right + 3)
    assert not good_clients.wrong and not good_clients.errors


def body(*inputs: dict, outputs: object = ({"name": "image"},)) -> bytes:
    return json.dumps({"inputs": inputs, "outputs": outputs}).encode()


def seed(**changes: object) -> bytes:
    return body({**SEED_INPUT, **changes})


def post(server, content: bytes, path: str = PATH, headers: dict[str, str] | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.http, timeout=PATIENCE)
    try:
        connection.request("POST", path, content, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def test_what_the_wrong_ones_differ_from_is_right(server):
    status, text = post(server, body(SEED_INPUT))
    assert status == 200 and json.loads(text)["outputs"][0]["shape"] == [1, 16, 16, 1]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        pytest.param(seed(name="sed"), 400, "unexpected inference input 'sed'", id="name"),
        pytest.param(body(), 400, "missing required input(s) ['seed']", id="no-input"),
        pytest.param(body(SEED_INPUT, {**SEED_INPUT, "name": "x"}), 400, "expected 1 inputs but got 2", id="extra"),
        pytest.param(body(SEED_INPUT, SEED_INPUT), 400, "input 'seed' already exists", id="twice"),
        pytest.param(seed(datatype="INT32"), 400, "data-type is 'INT32'", id="INT32"),
        pytest.param(seed(datatype="FP32", data=[1.5]), 400, "data-type is 'FP32'", id="FP32"),
        pytest.param(seed(datatype="SEED"), 400, "invalid datatype for input seed", id="no-type"),
        pytest.param(seed(shape=[1]), 400, "Expected [-1,1], got [1]", id="shape-1"),
        pytest.param(seed(shape=[1, 2], data=[1, 2]), 400, "Expected [-1,1], got [1,2]", id="shape-1-2"),
        pytest.param(seed(shape=[0, 1], data=[]), 400, "mismatch for input 'seed'", id="shape-0-1"),
        pytest.param(seed(shape=[]), 400, "input 'seed' has no shape", id="shape-empty"),
        pytest.param(seed(shape=[2**40, 2**40]), 400, "Expected [-1,1]", id="shape-huge"),
        pytest.param(seed(shape=[9, 1], data=[3] * 9), 400, "batch-size must be <= 8", id="batch"),
        pytest.param(body(SEED_INPUT, outputs=[{"name": "gif"}]), 400, "unexpected inference output 'gif'", id="out"),
        pytest.param(seed(name="\x00\n"), 400, "unexpected inference input", id="control"),
        pytest.param(body(SEED_INPUT).replace(b'"seed"', b'"\xff\xfe"'), 400, "unexpected inference input", id="utf8"),
        pytest.param(b"", 400, "Expected 8, got 0", id="empty-body"),
        # What the server cannot parse it calls an error of its own.
        pytest.param(seed(shape=[-1, 1]), 500, "Unable to parse 'shape'", id="shape-negative"),
        pytest.param(seed(shape=[2, 1]), 500, "Unable to parse 'data'", id="too-little"),
        pytest.param(seed(data=[1, 2]), 500, "Unable to parse 'data'", id="too-much"),
        pytest.param(seed(data=["3"]), 500, "Unable to parse 'data'", id="text"),
        pytest.param(seed(data=[1.5]), 500, "Unable to parse 'data'", id="fraction"),
        pytest.param(seed(data=[2**63]), 500, "Unable to parse 'data'", id="beyond-int64"),
        pytest.param(seed(data=None), 500, "Unable to parse 'data'", id="null"),
        pytest.param(body(SEED_INPUT, outputs={"name": "image"}), 500, "Unable to parse 'outputs'", id="outputs"),
        pytest.param(b'{"inputs":[', 500, "failed to parse the request JSON", id="cut-json"),
        pytest.param(b"[]", 500, "Unable to parse 'inputs'", id="array"),
        pytest.param(b"\xff\xfe\x00", 500, "failed to parse the request JSON", id="no-json"),
        pytest.param(b"[" * 10_000, 500, "failed to parse the request JSON", id="nested"),
    ],
)
def test_http_json(server, content, status, words):
    code, text = post(server, content)
    assert code == status
    assert words in json.loads(text)["error"]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v2/models/nope/infer", 404, "'nope' is not found"),
        (f"/v2/models/{MODEL}/versions/7/infer", 404, "version 7 is not found"),
        (f"/v2/models/{MODEL}/versions/x/infer", 404, "Not Found"),
        ("/v2/models/../../etc/infer", 404, "Not Found"),
        (f"/v2/models/{MODEL}/unload", 404, "Not Found"),
        # Only clients are served, no operators.
        (f"/v2/repository/models/{MODEL}/unload", 403, "restricted"),
    ],
)
def test_http_path(server, path, status, words):
    code, text = post(server, body(SEED_INPUT), path)
    assert code == status and words in json.loads(text)["error"]


HEADER = body(
    {"name": "seed", "shape": [1, 1], "datatype": "INT64", "parameters": {"binary_data_size": 8}},
    outputs=[{"name": "image", "parameters": {"binary_data": True}}],
)
LENGTH = len(HEADER)


@pytest.mark.parametrize(
    ("length", "content", "status", "words"),
    [
        pytest.param(LENGTH - 3, HEADER + SEED, 500, "failed to parse the request JSON", id="length-small"),
        pytest.param(LENGTH + 3, HEADER + SEED, 500, "failed to parse the request JSON", id="length-large"),
        pytest.param(LENGTH + 9, HEADER + SEED, 400, "header size should be in range", id="length-beyond"),
        pytest.param(-1, HEADER + SEED, 400, "header size should be in range", id="length-negative"),
        pytest.param(0, HEADER + SEED, 400, "Expected 8, got", id="length-0"),
        pytest.param(LENGTH, HEADER + SEED[:5], 400, "'seed', expecting 3 additional bytes", id="data-short"),
        pytest.param(LENGTH, HEADER, 400, "'seed', expecting 8 additional bytes", id="data-none"),
        pytest.param(LENGTH, HEADER + SEED + SEED, 400, "unexpected additional input data", id="data-long"),
        pytest.param(
            LENGTH, HEADER.replace(b'_size": 8', b'_size": 4') + SEED, 400, "unexpected additional", id="says-4"
        ),
    ],
)
def test_http_binary(server, length, content, status, words):
    code, text = post(server, content, headers={"Inference-Header-Content-Length": str(length)})
    assert code == status
    assert words in json.loads(text)["error"]


NO_BATCH = "input seed has shape [1]: give [batch, 1] with a batch of 1 or more"
SIZE = "input byte size mismatch for input 'seed'"
SHAPES = [
    # The server counts a batch in 32 bits. What it takes for one of 0 it hands on to the model, which refuses it.
    pytest.param((2**32, 1), NO_BATCH, id="2^32"),
    pytest.param((2**33, 1), NO_BATCH, id="2^33"),
    pytest.param((2**61, 1), NO_BATCH, id="2^61"),
    pytest.param((2**33 + 2, 1), f"{SIZE} for model 'ddgan'. Expected 16, got 8", id="2^33+2"),
    pytest.param((2**32 + 9, 1), "batch-size must be <= 8", id="2^32+9"),
    pytest.param((1, 2**32), "Expected [-1,1], got [1,4294967296]", id="1-2^32"),
    pytest.param((1, 2**32 + 1), "Expected [-1,1], got [1,4294967297]", id="1-2^32+1"),
    pytest.param((2**32, 2**32), "Expected [-1,1], got [4294967296,4294967296]", id="2^32-2^32"),
]


def binary(shape: tuple[int, ...], datatype: str = "INT64") -> tuple[bytes, dict[str, str]]:
    """A request over HTTP with 8 bytes of data."""
    tensor = {"name": "seed", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": 8}}
    header = body(tensor, outputs=[{"name": "image", "parameters": {"binary_data": True}}])
    return header + SEED, {"Inference-Header-Content-Length": str(len(header))}


@pytest.mark.parametrize(("shape", "words"), SHAPES)
def test_a_shape_that_is_more_than_the_data_over_http(server, shape, words):
    """As JSON, such a shape ends the server, which makes room for it before it looks at the data: see security.md."""
    content, headers = binary(shape)
    code, text = post(server, content, headers=headers)
    assert code == 400 and words in json.loads(text)["error"]


@pytest.mark.parametrize(("shape", "words"), SHAPES)
def test_a_shape_that_is_more_than_the_data_over_grpc(channel, shape, words):
    with pytest.raises(grpc.RpcError) as refused:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request(shape=shape), timeout=PATIENCE)
    assert refused.value.code().name == "INVALID_ARGUMENT" and words in refused.value.details()


def test_a_batch_that_the_server_takes_for_1_gets_the_image_of_its_one_seed(channel, pool):
    """It comes to the model as a batch of 1 with its 8 bytes; nothing beyond them is read."""
    sent = request(shape=(2**32 + 1, 1))
    answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(sent, timeout=PATIENCE)
    assert list(answer.outputs[0].shape) == [1, 16, 16, 1]
    assert answer.raw_output_contents[0] == pool.images[3]


def test_bytes_as_a_seed(server, channel):
    content, headers = binary((1, 1), "BYTES")
    code, text = post(server, content, headers=headers)
    assert code == 400 and "data-type is 'BYTES', but model 'ddgan' expects 'INT64'" in json.loads(text)["error"]
    with pytest.raises(grpc.RpcError, match="data-type is 'BYTES', but model 'ddgan' expects 'INT64'"):
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request(datatype="BYTES"), timeout=PATIENCE)


def test_what_was_refused_is_drawn_for_who_asks_rightly(server, channel, digits):
    """The server's own response cache would keep the refusal as an empty answer to this seed."""
    seed, content = struct.pack("<q", 40_001), request(shape=(2**32, 1))
    content.raw_input_contents[0] = seed
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    with pytest.raises(grpc.RpcError):
        stub.ModelInfer(content, timeout=PATIENCE)
    answer = stub.ModelInfer(request(data=(seed,)), timeout=PATIENCE)
    assert answer.raw_output_contents[0] == Pool(digits, [40_001]).images[40_001]


def test_the_largest_http_header(server):
    assert post(server, body(SEED_INPUT), headers={"X-Long": "x" * 4000})[0] == 200
    # Beyond 8 KiB the server hangs up without a word.
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        post(server, body(SEED_INPUT), headers={"X-Long": "x" * 100_000})


@pytest.mark.parametrize(
    "sent",
    [b"\xff\xfe\x00\x01\r\n\r\n", b"\r\n" * 100, f"POST {PATH} HTTP/1.1\r\nContent-Length: -5\r\n\r\n{{}}".encode()],
    ids=["no-http", "empty-lines", "negative-length"],
)
def test_what_is_no_http_is_hung_up_on(server, sent):
    host, port = server.http.split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000) == b""


def request(
    name: str = "seed",
    datatype: str = "INT64",
    shape: tuple[int, ...] = (1, 1),
    data: tuple[bytes, ...] = (SEED,),
    **other: object,
) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(**{"model_name": MODEL, **other})
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.raw_input_contents.extend(data)
    request.outputs.add(name="image")
    return request


def request_of_two(name: str) -> service_pb2.ModelInferRequest:
    two = request(data=(SEED, SEED))
    two.inputs.add(name=name, datatype="INT64", shape=(1, 1))
    return two


def request_for(output: str) -> service_pb2.ModelInferRequest:
    other = request()
    other.outputs[0].name = output
    return other


def request_with_both_forms() -> service_pb2.ModelInferRequest:
    both = request()
    both.inputs[0].contents.int64_contents.append(3)
    return both


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        pytest.param(request(name="sed"), "INVALID_ARGUMENT", "unexpected inference input 'sed'", id="name"),
        pytest.param(
            service_pb2.ModelInferRequest(model_name=MODEL), "INVALID_ARGUMENT", "required input(s) ['seed']", id="none"
        ),
        pytest.param(request_of_two("x"), "INVALID_ARGUMENT", "expected 1 inputs but got 2", id="extra"),
        pytest.param(request_of_two("seed"), "INVALID_ARGUMENT", "input 'seed' already exists", id="twice"),
        pytest.param(request(datatype="INT32"), "INVALID_ARGUMENT", "data-type is 'INT32'", id="INT32"),
        pytest.param(request(datatype="SEED"), "INVALID_ARGUMENT", "data-type is '<invalid>'", id="no-type"),
        pytest.param(request(shape=(1,)), "INVALID_ARGUMENT", "Expected [-1,1], got [1]", id="shape-1"),
        pytest.param(request(shape=(1, 2), data=(SEED * 2,)), "INVALID_ARGUMENT", "got [1,2]", id="shape-1-2"),
        pytest.param(request(shape=(0, 1), data=(b"",)), "INVALID_ARGUMENT", "mismatch for input 'seed'", id="shape-0"),
        pytest.param(request(shape=(-1, 1)), "INVALID_ARGUMENT", "mismatch for input 'seed'", id="shape-negative"),
        pytest.param(request(shape=()), "INVALID_ARGUMENT", "input 'seed' has no shape", id="shape-empty"),
        pytest.param(request(shape=(9, 1), data=(SEED * 9,)), "INVALID_ARGUMENT", "must be <= 8", id="batch"),
        pytest.param(request(model_name="nope"), "NOT_FOUND", "'nope' is not found", id="model"),
        pytest.param(request(model_name=""), "NOT_FOUND", "unknown model", id="no-model"),
        pytest.param(request(model_version="7"), "NOT_FOUND", "version 7 is not found", id="version"),
        pytest.param(request(model_version="x"), "INVALID_ARGUMENT", "version string 'x'", id="no-version"),
        pytest.param(request_for("gif"), "INVALID_ARGUMENT", "unexpected inference output 'gif'", id="output"),
        pytest.param(request(data=(SEED[:3],)), "INVALID_ARGUMENT", "Expected 8, got 3", id="data-short"),
        pytest.param(request(data=(SEED * 2,)), "INVALID_ARGUMENT", "Expected 8, got 16", id="data-long"),
        pytest.param(request(data=()), "INVALID_ARGUMENT", "unable to find data for input tensor 'seed'", id="no-data"),
        pytest.param(request_with_both_forms(), "INVALID_ARGUMENT", "contents field must not be", id="both-forms"),
    ],
)
def test_grpc(channel, sent, status, words):
    with pytest.raises(grpc.RpcError) as refused:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(sent, timeout=PATIENCE)
    assert refused.value.code().name == status
    assert words in refused.value.details()


@pytest.mark.parametrize(
    ("method", "content", "metadata", "status"),
    [
        pytest.param("ModelInfer", b"\xff\xff\xff\xff", (), "INTERNAL", id="no-protobuf"),
        pytest.param("Nope", b"", (), "UNIMPLEMENTED", id="method"),
        pytest.param("ModelInfer", b"", (("x", "x" * 100_000),), "RESOURCE_EXHAUSTED", id="metadata"),
    ],
)
def test_what_is_no_grpc_request(channel, method, content, metadata, status):
    call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
    with pytest.raises(grpc.RpcError) as refused:
        call(content, timeout=PATIENCE, metadata=metadata)
    assert refused.value.code().name == status
