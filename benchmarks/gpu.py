"""Tables of docs/benchmarks.md out of what a GPU machine measured.

    python benchmarks/gpu.py --json RESULTS

RESULTS is the folder that ``tools/gpu_machine.sh test`` and ``measure`` wrote. Only figures of a GPU are printed, each
under the machine's name, its driver and its clocks; what did not run, or not to its end, is told.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ddgan_deploy.bench.results import Skipped
from ddgan_deploy.cli.bench_tables import number, percent, skipped_lines
from ddgan_deploy.command import Parser, run
from ddgan_deploy.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from export import PUBLISHED, SIZES

KERNELS = ("op", "shape", "dtype", "layout")
TIMES = ("ours", "called", "eager", "compile", "limit")


def lines(results: Path) -> Iterator[str]:
    """All tables, line by line.

    Raises:
        InputError: the folder has no results, no GPU gave them, or a file of them cannot be read.
    """
    told = _read(results / "run.json")
    if told is None:
        raise InputError(f"{results} has no run.json: run tools/gpu_machine.sh test and measure first")
    jobs = [job for job in told["jobs"] if job["gpu"]]
    if not jobs:
        raise InputError(f"{results} is of a machine without a GPU: its figures are not printed")
    for job in jobs:
        if tables := list(_tables(job["name"], _read(results / f"{job['name']}.json") or {})):
            yield from (*_machine(job), *tables)
    yield from _jobs(jobs)


def _tables(name: str, result: dict[str, Any]) -> Iterator[str]:
    """What a benchmark measured on a GPU."""
    if name == "kernels" and result.get("rows"):
        yield from _kernels(result)
    for size in PUBLISHED:
        if size in result and any(row["device"] == "cuda" for row in result[size]["rows"]):
            yield from _sampler(SIZES[size]["title"], result[size])


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except (OSError, ValueError):
        raise InputError(f"{path} cannot be read: measure again") from None


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
    share = row["failed"] or percent(row["share"])
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
        faster, share = number(row["speedup_vs_eager"]), percent(row["roofline_share"])
        memory = "-" if row["gpu_peak_mb"] is None else f"{row['gpu_peak_mb']:.0f}"
        times = f"{row['median_ms']:.2f} | {row['p95_ms']:.2f} | {row['images_per_s']:.0f}"
        yield f"| {row['engine']} | {row['precision']} | {row['batch']} | {times} | {faster} | {share} | {memory} |"
        if row["doubtful"]:
            yield f"| | | | {row['doubtful']} | | | | | |"
    yield ""
    if result["skipped"]:
        yield from (f"- {line}" for line in skipped_lines([Skipped(**each) for each in result["skipped"]]))
        yield ""


def _jobs(jobs: list[dict[str, Any]]) -> Iterator[str]:
    yield "| what ran | how it ended | seconds | its last word |"
    yield "| --- | --- | ---: | --- |"
    for job in jobs:
        said = job["said"].replace("|", "\\|")
        yield f"| {job['name']} | {job['outcome']} | {job['seconds']:.0f} | {said} |"


def main(argv: Sequence[str] | None = None) -> None:
    """Prints them.

    Raises:
        InputError: see `lines`; or a file is of another form.
    """
    parser = Parser(prog="gpu.py", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, default=Path("results"), metavar="RESULTS", help="(default: results)")
    args = parser.parse_args(argv)
    try:
        told = list(lines(args.json))
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{args.json} has files of another form: measure again with this version") from None
    print("\n".join(told))


if __name__ == "__main__":
    sys.exit(run(main))
