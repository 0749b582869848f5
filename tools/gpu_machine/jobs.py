"""What is run on a GPU machine, in the order of its worth: a run that is cut short has done what matters most.

Standard library alone: it is read by whatever Python the machine has.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
BATCHES = {"cifar10": "1,8,64,256", "celebahq256": "1,8,64"}
"""Published size -> images a run on a GPU."""
CPU_BATCHES = {"digits": "1"}
GPU_ENGINES = (
    *("pytorch-eager-cuda", "pytorch-compile-cuda", "pytorch-cudagraph"),
    *("onnxruntime-cuda-portable", "onnxruntime-cuda"),
)
BUILT = ("tensorrt", "tensorrt-rtx")
"""Engines of files of their own; where one is not installed or does not take this GPU, its job says so."""
CPU_ENGINES = ("pytorch-eager", "onnxruntime")
KERNELS = "regex:adagn|reverse|philox"
"""What ncu calls our kernels."""
PROFILED = 3
"""Kernels that are looked at one by one."""


@dataclass(frozen=True)
class Job:
    """One command with a time of its own.

    Attributes:
        name: of its files in the folder of results.
        command: as it is run, in the repository's root.
        minutes: after which it is ended.
        needs: a program that must be on PATH, or "".
        environment: variables besides.
    """

    name: str
    command: tuple[str, ...]
    minutes: float
    needs: str = ""
    environment: tuple[tuple[str, str], ...] = ()


def test_jobs() -> list[Job]:
    """``pytest -m gpu`` file by file, the kernels alone before what is built on them."""
    first = [
        "tests/kernels/test_tl_kernels.py",
        "tests/kernels/test_gpu_onnxruntime.py",
        "tests/ddgan_deploy/bench/test_gpu_sampler.py",
    ]
    marked = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py") if _is_marked(path)}
    names = [*first, *sorted(marked - set(first))]
    return [Job(f"test-{Path(name).stem.removeprefix('test_')}", _pytest(name), minutes=8) for name in names]


def measure_jobs(results: Path, gpu: bool) -> list[Job]:
    """Benchmarks, then what looks into the kernels.

    Args:
        results: the folder they write to.
        gpu: whether there is one; else the CPU's rows of a small network are measured: that the commands run is seen.
    """
    jobs = [Job("kernels", _benchmark("gpu_kernels.py", "--json", results / "kernels.json"), minutes=6)]
    for size, batches in (BATCHES if gpu else CPU_BATCHES).items():
        engines = ",".join(GPU_ENGINES if gpu else CPU_ENGINES)
        more = ("--fp16",) if gpu else ("--runs", "3")
        options = ("--sizes", size, *more, "--batch", batches, "--engines", engines)
        json = results / f"sampler-{size}.json"
        jobs.append(Job(f"sampler-{size}", _benchmark("speed.py", *options, "--json", json), minutes=10))
    if gpu:
        for engine in BUILT:
            options = ("--sizes", "cifar10", "--fp16", "--batch", BATCHES["cifar10"], "--build", engine)
            engines, json = f"pytorch-eager-cuda,{engine}", results / f"sampler-{engine}.json"
            command = _benchmark("speed.py", *options, "--engines", engines, "--json", json)
            jobs.append(Job(f"sampler-{engine}", command, minutes=8))
    # PyTorch's own cache of memory would hide what is read or written past an end.
    checked = (("PYTORCH_NO_CUDA_MEMORY_CACHING", "1"),)
    for tool, tests in (("memcheck", ""), ("racecheck", "every_plan or partial")):
        sanitizer = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "1")
        command = (*sanitizer, *_pytest("tests/kernels/test_tl_kernels.py", *(("-k", tests) if tests else ())))
        jobs.append(Job(tool, command, minutes=6, needs="compute-sanitizer", environment=checked))
    for number in range(PROFILED):
        profiled = _benchmark("gpu_kernels.py", "--profile", results / "kernels.json", number)
        profiler = (
            "ncu",
            "--set",
            "full",
            "--target-processes",
            "application-only",
            "--clock-control",
            "none",
            "-k",
            KERNELS,
        )
        jobs.append(Job(f"profile-{number + 1}", (*profiler, *profiled), minutes=3, needs="ncu"))
    return jobs


def missing(job: Job) -> str:
    """Why a job cannot be run here, on one line; "" where it can."""
    return f"{job.needs} is not on PATH" if job.needs and not shutil.which(job.needs) else ""


def _is_marked(path: Path) -> bool:
    return "mark.gpu" in path.read_text(encoding="utf-8")


def _pytest(path: str, *options: str) -> tuple[str, ...]:
    shown = ("-v", "-rs", "--tb=short", "--color=no", "-p", "no:cacheprovider")
    return (PYTHON, "-m", "pytest", path, "-m", "gpu", *shown, *options)


def _benchmark(name: str, *options: object) -> tuple[str, ...]:
    return (PYTHON, str(ROOT / "benchmarks" / name), *map(str, options))


def all_names(jobs: Sequence[Job]) -> str:
    """For people."""
    return ", ".join(job.name for job in jobs)
