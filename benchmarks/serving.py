"""What a server costs: images through Triton Inference Server against the bare engine, in one run.

    python benchmarks/serving.py [ARTIFACT ...] [--rounds N] [--seconds S] [--json FILE]

For each artifact (default: the bundled digits): the bare engine at batch 1 and at the server's largest batch in this
process, then the server at concurrency 1 and at as many clients as that batch, over gRPC by perf_analyzer,
in turn for some rounds. Prints the medians: images a second through the server over those of the engine, and the
time that the server adds to one image at concurrency 1.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from ddgan_deploy import open_artifact
from ddgan_deploy.data import DIGITS_STEPS, digits_checkpoint
from ddgan_deploy.engines.base import Engine
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.serving.address import Address
from ddgan_deploy.serving.launch import started
from ddgan_deploy.serving.options import ServerOptions
from ddgan_deploy.serving.perf import PerfOptions, run

BATCH = 8
"""Of the server by default, and the concurrency that fills it."""


def engine_seconds(engine: Engine, batch: int, seconds: float) -> float:
    """Median time of a batch in this process."""
    engine.generate(range(batch))
    times, end, seed = [], time.perf_counter() + seconds, 0
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        engine.generate(range(seed, seed + batch))
        times.append(time.perf_counter() - start)
        seed += batch
    return statistics.median(times)


def measure(artifact: Path, rounds: int, seconds: float, folder: Path) -> dict[str, object]:
    """Medians of some rounds of both."""
    found: dict[str, list[float]] = {}
    options = ServerOptions(artifact, http_port=0, grpc_port=0, metrics_port=0)
    with open_artifact(artifact) as engine, started(options, lambda line: None) as server:
        server.wait_ready()
        address = Address("grpc", "127.0.0.1", server.options.grpc_port)
        for index in range(rounds):
            one, many = (engine_seconds(engine, batch, seconds) for batch in (1, BATCH))
            # As ONNX Runtime's threads spin for a while after a run.
            time.sleep(1)
            perf = PerfOptions((address,), folder / f"{artifact.name}-{index}", (1, BATCH), seconds=seconds)
            alone, together = run(perf).levels
            if alone.client is None or together.client is None or together.server is None:
                raise SystemExit(alone.reason or together.reason)
            row = {
                "engine_ms": one * 1e3,
                "server_p50_ms": alone.client.p50_ms,
                "overhead_ms": alone.client.p50_ms - one * 1e3,
                "engine_images_s": BATCH / many,
                "server_images_s": together.client.images_per_s,
                "ratio": together.client.images_per_s * many / BATCH,
                "mean_batch": together.server.mean_batch,
            }
            print(f"  round {index}: {', '.join(f'{key} {value:.3g}' for key, value in row.items())}", file=sys.stderr)
            for key, value in row.items():
                found.setdefault(key, []).append(value)
        name = engine.name
    medians = {key: round(statistics.median(values), 3) for key, values in found.items()}
    return {"artifact": artifact.name, "engine": name, **medians, "rounds": found}


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
    print(
        "| artifact | engine ms | server p50 ms | added ms | engine images/s | server images/s | ratio | mean batch |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        keys = (
            "engine_ms",
            "server_p50_ms",
            "overhead_ms",
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
