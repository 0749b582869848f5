"""Traffic for a server under test: clients of every protocol, right answers to hold theirs against, what it counts."""

from __future__ import annotations

import contextlib
import io
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from PIL import Image

from ddgan_deploy import open_artifact
from ddgan_deploy.serving import MODEL, PNG_MODEL
from ddgan_deploy.serving.echo import comment_of_png

PROTOCOLS = ("grpc", "http-binary", "http-json")
MAX_BATCH = 8
PATIENCE = 20
"""Seconds after which what a test waits for will not come."""
_ROW = re.compile(r"^(?P<name>\w+)\{(?P<labels>.*)\} (?P<value>\S+)$")


class Client:
    """One client with a connection of its own, for one thread.

    Args:
        server: HOST:PORT of HTTP and gRPC.
        protocol: one of `PROTOCOLS`.
    """

    def __init__(self, server: Any, protocol: str) -> None:
        self.protocol = protocol
        self.package = tritonclient.grpc if protocol == "grpc" else tritonclient.http
        self.binary = {} if protocol == "grpc" else {"binary_data": protocol == "http-binary"}
        timeouts = {} if protocol == "grpc" else {"network_timeout": PATIENCE, "connection_timeout": PATIENCE}
        self.connection = self.package.InferenceServerClient(
            server.grpc if protocol == "grpc" else server.http, **timeouts
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.connection.close()

    def ask(self, seeds: Sequence[int], *outputs: str, model: str = MODEL, **options: Any) -> Any:
        """The answer to seeds, int64; without outputs none is named."""
        tensor = self.package.InferInput("seed", [len(seeds), 1], "INT64")
        tensor.set_data_from_numpy(np.asarray(seeds, np.int64)[:, None], **self.binary)
        wanted = [self.package.InferRequestedOutput(name, **self.binary) for name in outputs] or None
        if self.package is tritonclient.grpc:
            options.setdefault("client_timeout", PATIENCE)
        return self.connection.infer(model, [tensor], outputs=wanted, **options)

    def images(self, seeds: Sequence[int]) -> list[bytes]:
        """The pixels of each seed."""
        answer = self.ask(seeds, "image").as_numpy("image")
        assert answer.dtype == np.uint8 and len(answer) == len(seeds)
        return [image.tobytes() for image in answer]

    def pictures(self, seeds: Sequence[int]) -> list[bytes]:
        """The same, out of PNG files, which must tell their seeds."""
        files = self.ask(seeds, "png", model=PNG_MODEL).as_numpy("png")[:, 0]
        assert [comment_of_png(file) for file in files] == [f"seed {seed}" for seed in seeds]
        return [decoded(file) for file in files]


def decoded(file: bytes) -> bytes:
    """The pixels of a PNG file."""
    return np.asarray(Image.open(io.BytesIO(file))).tobytes()


class Pool:
    """Seeds whose images are known from the bare engine, without a server.

    Args:
        artifact: what is served.
        seeds: int64.
    """

    def __init__(self, artifact: Path, seeds: Sequence[int]) -> None:
        engine = open_artifact(artifact)
        self.seeds = list(seeds)
        self.images: dict[int, bytes] = {}
        for start in range(0, len(seeds), MAX_BATCH):
            part = self.seeds[start : start + MAX_BATCH]
            drawn = engine.generate(part)
            self.shape = drawn.shape[1:]
            self.images |= {seed: image.tobytes() for seed, image in zip(part, drawn, strict=True)}
        engine.close()

    def expected(self, seeds: Sequence[int]) -> list[bytes]:
        """The pixels of each seed."""
        return [self.images[seed] for seed in seeds]

    def some(self, random: np.random.Generator, count: int | None = None) -> list[int]:
        """As many seeds, or 1 to a full batch; one may come twice."""
        return [int(seed) for seed in random.choice(self.seeds, count or random.integers(1, MAX_BATCH + 1))]


class Neighbours:
    """Good clients that ask without a pause while something bad happens beside them.

    Attributes:
        right: answers that were as expected.
        wrong: seeds whose images were not.
        errors: what the server, or the connection, said instead of an answer.
        answered: numbers of the clients that got a right one.
    """

    def __init__(self) -> None:
        self.right = 0
        self.wrong: list[list[int]] = []
        self.errors: list[Exception] = []
        self.answered: set[int] = set()
        self._stop = threading.Event()

    def run(self, server: Any, pool: Pool, number: int) -> None:
        """One client, until `stop`."""
        random = np.random.default_rng(number)
        with Client(server, PROTOCOLS[number % len(PROTOCOLS)]) as client:
            while not self._stop.is_set():
                seeds = pool.some(random)
                try:
                    images = client.images(seeds)
                except Exception as error:  # a test says which ones may come
                    self.errors.append(error)
                    time.sleep(0.05)
                    continue
                if images == pool.expected(seeds):
                    self.right += 1
                    self.answered.add(number)
                else:
                    self.wrong.append(seeds)

    def stop(self) -> None:
        """Lets every client end after the answer that it waits for."""
        self._stop.set()


@contextlib.contextmanager
def neighbours(server: Any, pool: Pool, count: int = 3) -> Iterator[Neighbours]:
    """Good clients around a block; that none of them got a wrong image is asserted at its end."""
    clients = Neighbours()
    with ThreadPoolExecutor(count) as threads:
        runs = [threads.submit(clients.run, server, pool, number) for number in range(count)]
        try:
            wait_for(lambda: len(clients.answered) == count)
            yield clients
        finally:
            clients.stop()
    for run in runs:
        run.result()
    assert not clients.wrong


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Returns when the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


def metrics(server: Any, name: str, **labels: str) -> dict[str, float]:
    """Rows of one name on the server's metrics page, by their labels; those with other values are left out."""
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=PATIENCE) as answer:
        rows = [row for line in answer.read().decode().splitlines() if (row := _ROW.match(line))]
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return {
        row["labels"]: float(row["value"])
        for row in rows
        if row["name"] == name and all(label in row["labels"] for label in wanted)
    }


def total(server: Any, name: str, **labels: str) -> int:
    """The sum of such rows."""
    return int(sum(metrics(server, name, **labels).values()))


def children(pid: int) -> dict[int, str]:
    """The processes that a process has started, with their command lines."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found[int(path.name)] = (path / "cmdline").read_text()
    return found


def stub(server: int, model: str) -> int:
    """The process of a server that runs a model."""
    return next(pid for pid, command in children(server).items() if f"/{model}/" in command)


def resident_bytes(pid: int) -> int:
    """Memory of a process, in bytes."""
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0]) << 10


def descriptors(pid: int) -> int:
    """Open descriptors of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
