"""TensorRT-RTX engines of a CIFAR-10-size sampler, built from random weights on a machine without a GPU.

    python benchmarks/tensorrt_rtx.py [--digits] [--runs 3] [--precisions fp32 fp16] [--json FILE]

Each artifact is exported once, without an engine; then ``ddgan-export --rebuild`` builds
its engine, each time in processes of its own. Prints, for each precision: nodes of
sampler.onnx, seconds of the builder (the median), peak memory of the largest of those
processes in any run, size of the engine, and the compute capabilities that it is for.
``--digits`` takes the small bundled checkpoint instead.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from export import SIZES, random_checkpoint

SIZE, PLAN = "cifar10", "sampler.rtx.plan"


def ddgan_export(*arguments: str) -> float:
    """Runs the command; returns its peak memory in bytes.

    It is that of the largest process. A process counts what its parent held when it was started,
    so nothing large is imported in this one.
    """
    command = [sys.executable, "-m", "ddgan_deploy.export.cli", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return 1024 * usage.ru_maxrss


def source(digits: bool, folder: Path) -> list[str]:
    """Options that name what is exported."""
    if digits:
        return ["--demo"]
    checkpoint = folder / f"{SIZE}.pth"
    maker = multiprocessing.get_context("spawn").Process(target=random_checkpoint, args=(SIZE, checkpoint))
    maker.start()
    maker.join()
    if maker.exitcode:
        raise SystemExit(f"the checkpoint could not be made: exit code {maker.exitcode}")
    return ["--ckpt", str(checkpoint), "--steps", str(SIZES[SIZE]["steps"])]


def measure(what: list[str], precision: str, runs: int, folder: Path) -> dict[str, Any]:
    """One artifact, and its engine as often as asked for."""
    out = folder / precision
    options = ["--fp16"] if precision == "fp16" else []
    print(f"{precision}: export", file=sys.stderr)
    ddgan_export(*what, *options, "--out", str(out), "--engine", "none", "--no-verify")
    seconds, peaks = [], []
    for run in range(runs):
        print(f"{precision}: build {run + 1} of {runs}", file=sys.stderr)
        peaks.append(ddgan_export("--rebuild", str(out), "--engine", "tensorrt-rtx"))
        info = json.loads((out / f"{PLAN}.json").read_text())
        seconds.append(info["build_seconds"])
    manifest = json.loads((out / "manifest.json").read_text())
    return {
        "nodes": manifest["graphs"]["sampler.onnx"]["nodes"],
        "steps": manifest["steps"],
        "precision": precision,
        "build_seconds": statistics.median(seconds),
        "all_build_seconds": seconds,
        "peak_gb": max(peaks) / 1e9,
        "engine_mb": manifest["files"][PLAN]["bytes"] / 1e6,
        "weights_mb": manifest["files"]["weights.bin"]["bytes"] / 1e6,
        "targets": info["compute_capabilities"],
        "batch": info["profile"],
        "tensorrt_rtx": info["version"],
    }


def processor() -> str:
    """The CPU's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--digits", action="store_true", help="the small bundled checkpoint")
    parser.add_argument("--runs", type=int, default=3, help="builds of each engine (default: 3)")
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "fp16"), default=["fp32", "fp16"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.runs < 1:
        parser.error("--runs must be 1 or more")
    with tempfile.TemporaryDirectory() as folder:
        what = source(args.digits, Path(folder))
        rows = [measure(what, precision, args.runs, Path(folder)) for precision in args.precisions]
    name = "digits" if args.digits else "CIFAR-10 size"
    environment = {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "tensorrt_rtx": rows[0]["tensorrt_rtx"],
        "runs": args.runs,
    }
    print(
        f"{environment['cores']} cores of {environment['cpu']}, Python {environment['python']}, "
        f"TensorRT-RTX {environment['tensorrt_rtx']}, {args.runs} runs, built for batch {_batch(rows[0]['batch'])}\n"
    )
    print("| graph | precision | build s | peak memory GB | engine MB | targets |")
    print("| --- | --- | ---: | ---: | ---: | --- |")
    for row in rows:
        graph = f"{name}, T = {row['steps']}: {row['nodes']} nodes"
        figures = f"{row['build_seconds']:.1f} | {row['peak_gb']:.2f} | {row['engine_mb']:.0f}"
        print(f"| {graph} | {row['precision']} | {figures} | {', '.join(row['targets'])} |")
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "environment": environment}, indent=2) + "\n")


def _batch(profile: dict[str, int]) -> str:
    return f"{profile['least']}:{profile['best']}:{profile['most']}"


if __name__ == "__main__":
    main()
