"""Servers that speak as much of the protocol as a client needs, and fail as they are told to."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype

PROTOCOLS = ("grpc", "http")
MAX_BATCH = 4
REASONS = {
    "busy": ("Exceeds maximum queue size", 503, grpc.StatusCode.UNAVAILABLE),
    "wrong": ("unexpected shape for input 'seed'", 400, grpc.StatusCode.INVALID_ARGUMENT),
    "failed": ("out of memory", 500, grpc.StatusCode.INTERNAL),
    "dead": ("in ensemble 'ddgan_png', Stub process 'ddgan_0_0' is not healthy.", 500, grpc.StatusCode.INTERNAL),
    "mixed": ("WrongAnswerError: seed 1 came with an image of seed 2", 500, grpc.StatusCode.INTERNAL),
    "stopping": ("Request for unknown model: 'ddgan' has no available versions", 404, grpc.StatusCode.NOT_FOUND),
    "unknown": ("Request for unknown model: 'ddgan' is not found", 404, grpc.StatusCode.NOT_FOUND),
}


@dataclass
class StandIn:
    """A server whose n-th request for images is answered as ``script[n]`` says; beyond it, with images.

    A script's words are the keys of `REASONS`, "broken" (the connection ends without an answer), "empty" (an answer
    without the output), "short" (an image too few), "silent" (no answer before the server ends), "other" (the answer to
    another request) and "answer". An image is one pixel: the seed's last byte.

    Attributes:
        tells: whether its answers tell what they were drawn from.
        url: with its protocol.
        requests: the seeds of every request, in order of arrival.
        before: what a request does before it is answered.
    """

    script: list[str]
    tells: bool = True
    url: str = ""
    requests: list[list[int]] = field(default_factory=list)
    before: Callable[[], object] = lambda: None
    ending: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def word(self, seeds: np.ndarray) -> str:
        """Notes a request, and tells how to answer it."""
        with self.lock:
            number = len(self.requests)
            self.requests.append(seeds.ravel().tolist())
        self.before()
        word = self.script[number] if number < len(self.script) else "answer"
        if word == "silent":
            self.ending.wait(10)
        return word

    def answer(self, seeds: np.ndarray, word: str) -> dict[str, np.ndarray]:
        """The outputs for seeds [N, 1]."""
        drawn = seeds + 1 if word == "other" else seeds[word == "short" :]
        images = (drawn & 255).astype(np.uint8).reshape(-1, 1, 1, 1)
        return {"image": images, **({"drawn_seed": drawn} if self.tells else {})}

    @property
    def outputs(self) -> list[str]:
        """That its model has: of before it had PNG files, too."""
        return ["image", "drawn_seed"] if self.tells else ["image", "png"]


@contextlib.contextmanager
def stand_in(protocol: str, *script: str, port: int = 0, tells: bool = True) -> Iterator[StandIn]:
    """A running stand-in on a free port of 127.0.0.1, or on the one given."""
    server = StandIn(list(script), tells)
    with (_grpc if protocol == "grpc" else _http)(server, port) as bound:
        server.url = f"{protocol}://127.0.0.1:{bound}"
        try:
            yield server
        finally:
            server.ending.set()


def _type(array: np.ndarray) -> dict[str, str]:
    return {"datatype": np_to_triton_dtype(array.dtype)}


@contextlib.contextmanager
def _http(stand: StandIn, port: int) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            tensors = {"input": [{"name": "seed"}], "output": [{"name": name} for name in stand.outputs]}
            self._answer(200, json.dumps({"max_batch_size": MAX_BATCH, **tensors}).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seeds = np.frombuffer(body[int(self.headers["Inference-Header-Content-Length"]) :], np.int64)[:, None]
            word = stand.word(seeds)
            if word in ("broken", "silent"):
                self.close_connection = True
            elif word in REASONS:
                reason, status, _ = REASONS[word]
                self._answer(status, json.dumps({"error": reason}).encode())
            elif word == "empty":
                self._answer(200, json.dumps({"outputs": []}).encode())
            else:
                self._tensors(stand.answer(seeds, word))

        def _tensors(self, arrays: dict[str, np.ndarray]) -> None:
            tensors = [
                {"name": name, "shape": array.shape, "parameters": {"binary_data_size": array.nbytes}, **_type(array)}
                for name, array in arrays.items()
            ]
            head = json.dumps({"outputs": tensors}).encode()
            content = b"".join([head, *(array.tobytes() for array in arrays.values())])
            self._answer(200, content, **{"Inference-Header-Content-Length": len(head)})

        def _answer(self, status: int, body: bytes, **headers: object) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": len(body), **headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    # Clients keep connections open, so the threads that serve them are not waited for.
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def _grpc(stand: StandIn, port: int) -> Iterator[int]:
    class Service(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ModelConfig(self, request: object, context: object) -> object:
            answer = service_pb2.ModelConfigResponse()
            answer.config.max_batch_size = MAX_BATCH
            answer.config.input.add().name = "seed"
            for name in stand.outputs:
                answer.config.output.add().name = name
            return answer

        def ModelInfer(self, request: service_pb2.ModelInferRequest, context: grpc.ServicerContext) -> object:
            seeds = np.frombuffer(request.raw_input_contents[0], np.int64)[:, None]
            word = stand.word(seeds)
            if word in ("broken", "silent"):
                # What gRPC itself reports of a connection that breaks.
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            if word in REASONS:
                reason, _, status = REASONS[word]
                context.abort(status, reason)
            if word == "empty":
                return service_pb2.ModelInferResponse()
            arrays = stand.answer(seeds, word)
            answer = service_pb2.ModelInferResponse(raw_output_contents=[array.tobytes() for array in arrays.values()])
            for name, array in arrays.items():
                answer.outputs.add(name=name, shape=array.shape, **_type(array))
            return answer

    server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(), server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield bound
    finally:
        stand.ending.set()
        server.stop(0).wait()
