"""Many images by ddgan-bulk: time and peak memory in each format, beside the bare engine, stopped once, and by workers.

    python benchmarks/bulk.py [DIR] [--count 50000] [--batch 64] [--formats npz,webdataset,parquet,png] [--cut]
                              [--workers 1,2,4] [--kill] [--shard-size 1000] [--engine NAME] [--out FOLDER]
                              [--json FILE]

Without DIR the bundled digits are exported first. A ratio is that of drawing and writing a shard to drawing alone, in
the same runs of a batch, in turn in one process, so that a machine that becomes slower does not speak for either. Every
run of the command is a process of its own; its memory is the most that it ever had, with that of Ray's processes left
out. With --cut each format is stopped by SIGTERM half-way and gone on with, and the bytes are those of the run that was
not. --workers draws the first format on a Ray cluster of this machine, in equal parts of it. --kill draws it on a
cluster of two nodes with a worker of one thread each, of which one is killed when a third of the shards is there.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ddgan_deploy.data import DIGITS_STEPS, digits_checkpoint
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.processor import cpu_model

FORMATS = "npz,webdataset,parquet,png"
PAIRS = """
import statistics, sys, tempfile, time
from pathlib import Path
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.bulk.content import Content
from ddgan_deploy.bulk.plan import Plan
from ddgan_deploy.bulk.shard import write_shard
from ddgan_deploy.engines.cascade import cascade_of
artifact, engine, name, count, batch = sys.argv[1:4] + [int(each) for each in sys.argv[4:]]
artifacts = [read_artifact(artifact)]
content = Content(Plan(f"0-{count - 1}", format=name, shard_size=count, batch=batch), artifacts)
(shard,) = content.plan.shards()
with cascade_of(artifacts, engine) as cascade, tempfile.TemporaryDirectory() as folder:
    def bare():
        for places in content.plan.batches(shard):
            seeds, knobs = content.asked(places)
            cascade.generate(seeds, **knobs)
    bare()
    ratios = []
    for turn in range(9):
        times = {}
        for what in ("bare", "bulk") if turn % 2 else ("bulk", "bare"):
            place = Path(folder) / str(turn)
            place.mkdir(exist_ok=True)
            start = time.perf_counter()
            bare() if what == "bare" else write_shard(content, shard, cascade, place)
            times[what] = time.perf_counter() - start
        ratios.append(times["bare"] / times["bulk"])
    print(statistics.median(ratios))
"""


class Ran(NamedTuple):
    """A process that has ended."""

    seconds: float
    peak_mb: float
    output: str


def run(command: Sequence[str], stop_after: float | None = None) -> Ran:
    """Runs a command; with ``stop_after`` SIGTERM reaches it after that many seconds.

    Raises:
        SystemExit: it failed, or was to be stopped and had ended.
    """
    start = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        stopper = threading.Timer(stop_after or 0, process.send_signal, [signal.SIGTERM])
        if stop_after:
            stopper.start()
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        stopper.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != (130 if stop_after else 0):
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)}\nended with {process.returncode}: {errors.read().decode()}")
    return Ran(time.monotonic() - start, usage.ru_maxrss / 1024, output)


def bulk(args: argparse.Namespace, out: Path, *others: str) -> list[str]:
    """The command."""
    seeds = ["--seeds", f"0-{args.count - 1}", "--batch", str(args.batch), "--shard-size", str(args.shard_size)]
    command = [sys.executable, "-m", "ddgan_deploy.cli.bulk", str(args.artifact), "--out", str(out)]
    return [*command, *seeds, "--engine", args.engine, *others]


def ratio(args: argparse.Namespace, name: str) -> float:
    """Images a second of a shard that is drawn and written, in those of the engine alone: the median of nine pairs."""
    command = [sys.executable, "-c", PAIRS, str(args.artifact), args.engine, name]
    return float(run([*command, str(args.shard_size), str(args.batch)]).output)


def digest(folder: Path) -> str:
    """Of all files but the record."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "bulk.json")
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def size_mb(folder: Path) -> float:
    """Of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def formats(args: argparse.Namespace, folder: Path) -> list[dict[str, object]]:
    """A row a format."""
    rows: list[dict[str, object]] = []
    for name in args.formats.split(","):
        out = folder / name
        ran = run(bulk(args, out, "--format", name))
        row = {
            "format": name,
            "seconds": ran.seconds,
            "images_per_s": args.count / ran.seconds,
            "ratio": ratio(args, name),
            "peak_mb": ran.peak_mb,
            "size_mb": size_mb(out),
        }
        if args.cut:
            row["cut"] = cut(args, folder, name, ran.seconds, digest(out))
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def cut(args: argparse.Namespace, folder: Path, name: str, seconds: float, whole: str) -> dict[str, float]:
    """Stops a run half-way and goes on with it.

    Raises:
        SystemExit: the bytes are others.
    """
    out = folder / f"{name}-cut"
    first = run(bulk(args, out, "--format", name), stop_after=seconds / 2)
    second = run(bulk(args, out, "--format", name, "--resume"))
    if digest(out) != whole:
        raise SystemExit(f"{out} is another than that of a run that was not stopped")
    return {"first_s": first.seconds, "second_s": second.seconds}


def clusters(args: argparse.Namespace, folder: Path) -> list[dict[str, object]]:
    """A row a number of workers."""
    rows: list[dict[str, object]] = []
    for count in map(int, args.workers.split(",")):
        out, name = folder / f"workers{count}", args.formats.split(",")[0]
        ran = run(bulk(args, out, "--format", name, "--ray", "local", "--workers", str(count)))
        row = {
            "workers": count,
            "seconds": ran.seconds,
            "images_per_s": args.count / ran.seconds,
            "sha256": digest(out),
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def killed(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Two nodes, of which one is killed.

    Raises:
        SystemExit: the command failed.
    """
    # Else nodes look for an address that other machines reach, and listen there.
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, "node_ip_address": "127.0.0.1"}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    other, out, name = cluster.add_node(num_cpus=1), folder / "killed", args.formats.split(",")[0]

    def kill() -> None:
        while len(list(out.glob("0*"))) * args.shard_size < args.count / 3:
            time.sleep(0.1)
        cluster.remove_node(other, allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        ran = run(bulk(args, out, "--format", name, "--ray", cluster.address, "--threads", "1"))
    finally:
        cluster.shutdown()
    row = {
        "nodes": "2, then 1",
        "seconds": ran.seconds,
        "images_per_s": args.count / ran.seconds,
        "sha256": digest(out),
    }
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=50000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--shard-size", type=int, default=1000)
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--formats", default=FORMATS)
    parser.add_argument("--cut", action="store_true")
    parser.add_argument("--workers", default="")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = args.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if args.artifact is None:
            options = ExportOptions(
                digits_checkpoint(), DIGITS_STEPS, out=folder / "digits", engine="none", verify=False
            )
            args.artifact = export(options).artifact.path
        told = {"cpu": cpu_model(), "count": args.count, "batch": args.batch, "rows": formats(args, folder)}
        if args.workers:
            told["clusters"] = clusters(args, folder)
        if args.kill:
            told["killed"] = killed(args, folder)
        if args.json:
            args.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
