"""Tables of docs/benchmarks.md out of what a GPU machine measured.

    python benchmarks/gpu.py --json RESULTS

RESULTS is the folder that ``tools/gpu_machine.sh test`` and ``measure`` wrote. Only figures of a GPU are printed, each
under the machine's name, its driver and its clocks; what did not run, or not to its end, is told.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TITLES = {"cifar10": "CIFAR-10 size, T = 4", "celebahq256": "CelebA-HQ 256 size, T = 2"}
KERNELS = ("op", "shape", "dtype", "layout")
TIMES = ("ours", "called", "eager", "compile", "limit")


class NoFigures(ValueError):
    """There is nothing that a GPU gave."""


def lines(results: Path) -> Iterator[str]:
    """All tables, line by line.

    Raises:
        NoFigures: the folder has no results, no GPU gave them, or a file of them cannot be read.
    """
    run = _read(results / "run.json")
    if run is None:
        raise NoFigures(f"{results} has no run.json: run tools/gpu_machine.sh test and measure first")
    jobs = {job["name"]: job for job in run["jobs"] if job.get("gpu")}
    if not jobs:
        raise NoFigures(f"{results} is of a machine without a GPU: its figures are not printed")
    for name, job in jobs.items():
        result = _read(results / f"{name}.json") or {}
        yield from _machine(job)
        if name == "kernels" and result.get("rows"):
            yield from _kernels(result)
        for size in TITLES.keys() & result.keys():
            if any(row["device"] == "cuda" for row in result[size]["rows"]):
                yield from _sampler(TITLES[size], result[size])
    yield from _jobs(list(jobs.values()))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except (OSError, ValueError):
        raise NoFigures(f"{path} cannot be read: measure again") from None


def _machine(job: dict[str, Any]) -> Iterator[str]:
    gpu, at_end = job["gpu"], job.get("gpu_after") or job["gpu"]
    told = [
        f"{name} {at_end[f'clocks.{key}']} of {gpu[f'clocks.max.{key}']}"
        for name, key in (("SM", "sm"), ("memory", "mem"))
        if f"clocks.{key}" in at_end and f"clocks.max.{key}" in gpu
    ]
    clocks = f", clocks at the end: {', '.join(told)}" if told else ""
    yield f"{job['name']}: {gpu['name']}, driver {gpu['driver_version']}{clocks}; {job['date']}"
    yield ""


def kernel_head(environment: dict[str, Any]) -> Iterator[str]:
    """What stands above the rows of the kernels."""
    copies = f"copies {environment['copy_bytes_per_s'] / 1e9:.0f} GB/s"
    versions = f"PyTorch {environment['torch']} (CUDA {environment['cuda']}), Triton {environment['triton']}"
    yield f"{environment['device']}; times in µs; {copies}; {versions}"
    yield ""
    yield f"| {' | '.join(KERNELS)} | {' | '.join(TIMES)} | share of limit |"
    yield f"|{' --- |' * len(KERNELS)}{' ---: |' * (len(TIMES) + 1)}"


def kernel_line(row: dict[str, Any]) -> str:
    """One row of a kernel, or why there is none."""
    times = [row[f"{name}_us"] for name in TIMES]
    shown = ["-" if time is None else f"{time:.1f}" for time in times]
    share = row["failed"] or ("-" if row["share"] is None else f"{row['share']:.0%}")
    return f"| {' | '.join([*(row[name] for name in KERNELS), *shown, share])} |"


def _kernels(kernels: dict[str, Any]) -> Iterator[str]:
    yield from kernel_head(kernels["environment"])
    yield from map(kernel_line, kernels["rows"])
    yield ""


def _sampler(title: str, result: dict[str, Any]) -> Iterator[str]:
    here = result["environment"]
    named = ("torch", "onnxruntime-gpu", "tensorrt", "triton")
    versions = ", ".join(f"{name} {here['versions'][name]}" for name in named if name in here["versions"])
    yield f"{title}; {here['gpu']}; {versions}"
    yield ""
    yield "| engine | precision | batch | median ms | p95 ms | images/s | × eager | of limit | GPU MB |"
    yield f"| --- | --- |{' ---: |' * 7}"
    for row in result["rows"]:
        if row["device"] != "cuda":
            continue
        faster = "-" if row["speedup_vs_eager"] is None else f"{row['speedup_vs_eager']:.2f}"
        share = "-" if row["roofline_share"] is None else f"{row['roofline_share']:.0%}"
        memory = "-" if row["gpu_peak_mb"] is None else f"{row['gpu_peak_mb']:.0f}"
        times = f"{row['median_ms']:.2f} | {row['p95_ms']:.2f} | {row['images_per_s']:.0f}"
        yield f"| {row['engine']} | {row['precision']} | {row['batch']} | {times} | {faster} | {share} | {memory} |"
        if row["doubtful"]:
            yield f"| | | | {row['doubtful']} | | | | | |"
    yield ""
    for skipped in result["skipped"]:
        batch = "" if skipped["batch"] is None else f" at batch {skipped['batch']}"
        yield f"- not measured: {skipped['engine']}{batch}: {skipped['reason']}"
    if result["skipped"]:
        yield ""


def _jobs(jobs: list[dict[str, Any]]) -> Iterator[str]:
    yield "| what ran | how it ended | seconds | its last word |"
    yield "| --- | --- | ---: | --- |"
    for job in jobs:
        said = job["said"].replace("|", "\\|")
        yield f"| {job['name']} | {job['outcome']} | {job['seconds']:.0f} | {said} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, default=Path("results"), metavar="RESULTS", help="(default: results)")
    args = parser.parse_args()
    try:
        print("\n".join(lines(args.json)))
    except NoFigures as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyError, TypeError, AttributeError):
        print(f"error: {args.json} has files of another form: measure again with this version", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
