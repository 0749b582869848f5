"""What a server costs: images through Triton Inference Server against the bare engine, in one run.

    python benchmarks/serving.py [ARTIFACT ...] [--rounds N] [--seconds S] [--json FILE]

For each artifact (default: the bundled digits), over gRPC on the same machine:
- single images, the bare engine in this process and the server in turn: what the server adds to one;
- as many clients as the server's largest batch, by perf_analyzer, between two measurements of the bare engine at that
  batch, for some rounds: images a second through the server over those of the engine.
Prints medians.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tritonclient import grpc

from ddgan_deploy import open_artifact
from ddgan_deploy.data import DIGITS_STEPS, digits_checkpoint
from ddgan_deploy.engines.base import Engine
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.serving import MODEL
from ddgan_deploy.serving.address import Address
from ddgan_deploy.serving.client.statistics import ServerStatistics
from ddgan_deploy.serving.perf.run import PerfOptions, run
from ddgan_deploy.serving.server.launch import started
from ddgan_deploy.serving.server.options import ServerOptions

BATCH = 8
"""Of the server by default, and the concurrency that fills it."""


def images_per_s(engine: Engine, seconds: float) -> float:
    """Of full batches in this process."""
    start, images = time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        engine.generate(range(images, images + BATCH))
        images += BATCH
    return images / (time.perf_counter() - start)


def single_images(engine: Engine, url: str, seconds: float) -> tuple[float, float, float]:
    """Medians in ms of single images: of the engine, of the server; and what the server itself says it took beside it.

    In turn, a second each, so that neither finds the caches full of the other's weights at every image.
    """
    tensor, wanted = grpc.InferInput("seed", [1, 1], "INT64"), [grpc.InferRequestedOutput("image")]
    bare, served = [], []
    # New ones, which nobody has asked for.
    seeds = itertools.count(2**40)
    with grpc.InferenceServerClient(url) as client, ServerStatistics(Address("grpc", *_split(url))) as server:

        def ask() -> None:
            tensor.set_data_from_numpy(np.array([[next(seeds)]]))
            client.infer(MODEL, [tensor], outputs=wanted)

        before, end = server.read(MODEL), time.perf_counter() + seconds
        while time.perf_counter() < end:
            bare += _times(lambda: engine.generate([next(seeds)]))
            served += _times(ask)
        counted = server.read(MODEL) - before
    beside = (counted.total_ns - counted.compute_ns) / counted.requests / 1e6
    return statistics.median(bare), statistics.median(served), beside


def _times(work: Callable[[], object]) -> list[float]:
    """Times in ms for one second; the first is for warming up."""
    times, end = [], time.perf_counter() + 1
    while time.perf_counter() < end or len(times) < 2:
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return times[1:]


def _split(url: str) -> tuple[str, int]:
    host, port = url.rsplit(":", 1)
    return host, int(port)


def measure(artifact: Path, rounds: int, seconds: float, folder: Path) -> dict[str, object]:
    """Medians of some rounds."""
    found: dict[str, list[float]] = {}
    options = ServerOptions(artifact, http_port=0, grpc_port=0, metrics_port=0)
    with open_artifact(artifact) as engine, started(options, lambda line: None) as server:
        server.wait_ready()
        engine.generate(range(BATCH))
        address = Address("grpc", "127.0.0.1", server.options.grpc_port)
        bare, served, beside = single_images(engine, server.options.grpc, 2 * seconds)
        for index in range(rounds):
            perf = PerfOptions(
                (address,), folder / f"{artifact.name}-{index}", (BATCH,), seconds=seconds, warm_up=BATCH
            )
            before = images_per_s(engine, seconds / 2)
            (level,) = run(perf).levels
            if level.client is None or level.server is None:
                raise SystemExit(level.reason)
            rate = (before + images_per_s(engine, seconds / 2)) / 2
            row = {
                "engine_images_s": rate,
                "server_images_s": level.client.images_per_s,
                "ratio": level.client.images_per_s / rate,
                "mean_batch": level.server.mean_batch,
            }
            print(f"  round {index}: {', '.join(f'{key} {value:.3g}' for key, value in row.items())}", file=sys.stderr)
            for key, value in row.items():
                found.setdefault(key, []).append(value)
        name = engine.name
    return {
        "artifact": artifact.name,
        "engine": name,
        "engine_ms": bare,
        "server_ms": served,
        "added_ms": served - bare,
        "beside_ms": beside,
        **{key: statistics.median(values) for key, values in found.items()},
        "rounds": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("artifacts", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifacts = args.artifacts or [folder / "digits"]
        if not args.artifacts:
            export(ExportOptions(digits_checkpoint(), DIGITS_STEPS, out=artifacts[0], engine="none", verify=False))
        rows = [measure(artifact, args.rounds, args.seconds, folder) for artifact in artifacts]
    titles = (
        "artifact", "engine ms", "server ms", "added ms", "beside the engine ms",
        "engine images/s", "server images/s", "ratio", "mean batch",
    )  # fmt: skip
    print(f"| {' | '.join(titles)} |")
    print(f"| --- |{' ---: |' * (len(titles) - 1)}")
    for row in rows:
        keys = (
            "engine_ms",
            "server_ms",
            "added_ms",
            "beside_ms",
            "engine_images_s",
            "server_images_s",
            "ratio",
            "mean_batch",
        )
        print(f"| {row['artifact']} | {' | '.join(f'{row[key]:.2f}' for key in keys)} |")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
