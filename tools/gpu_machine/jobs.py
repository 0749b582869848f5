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
BATCHES = {"cifar10": "1,8,64,256", "celebahq256": "1,8,64"}
"""Published size -> images a run on a GPU."""
GPU_ENGINES = (
    *("pytorch-eager-cuda", "pytorch-compile-cuda", "pytorch-cudagraph"),
    *("onnxruntime-cuda-portable", "onnxruntime-cuda"),
)
BUILT = ("tensorrt", "tensorrt-rtx")
"""Engines of files of their own; where one is not installed or does not take this GPU, its job says so."""
CPU_ENGINES = ("pytorch-eager", "onnxruntime")
KERNELS = "regex:adagn|reverse|philox"
"""What ncu calls our kernels."""
KERNEL_TESTS = ("tests/kernels/test_tl_kernels.py", "tests/kernels/test_tl_adagn_grad.py")
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
        *KERNEL_TESTS,
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
    if gpu:
        jobs += [_sampler(results, size, size, GPU_ENGINES, "--fp16", minutes=10) for size in BATCHES]
        for engine in BUILT:
            engines, more = ("pytorch-eager-cuda", engine), ("--fp16", "--build", engine)
            jobs += [_sampler(results, engine, "cifar10", engines, *more, minutes=8)]
    else:
        jobs += [_sampler(results, "digits", "digits", CPU_ENGINES, "--runs", "3", minutes=10)]
    checked = [_checked("memcheck"), _checked("racecheck", "-k", "every_plan or partial")]
    return [*jobs, *checked, *(_profiled(results, number) for number in range(PROFILED))]


def _sampler(results: Path, name: str, size: str, engines: Sequence[str], *more: str, minutes: float) -> Job:
    """The sampler at a size of `benchmarks/export.py`, in some engines."""
    options = ("--sizes", size, "--batch", BATCHES.get(size, "1"), "--engines", ",".join(engines), *more)
    path = results / f"sampler-{name}.json"
    return Job(f"sampler-{name}", _benchmark("speed.py", *options, "--json", path), minutes)


def _checked(tool: str, *options: str) -> Job:
    """The kernels' tests under a tool of compute-sanitizer's."""
    sanitizer = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "1")
    command = (*sanitizer, *_pytest(*KERNEL_TESTS, *options))
    # PyTorch's own cache of memory would hide what is read or written past an end.
    environment = (("PYTORCH_NO_CUDA_MEMORY_CACHING", "1"),)
    return Job(tool, command, minutes=6, needs=sanitizer[0], environment=environment)


def _profiled(results: Path, number: int) -> Job:
    """One of the kernels with the smallest share of their limit."""
    profiler = ("ncu", "--set", "full", "--target-processes", "application-only", "--clock-control", "none")
    profiled = _benchmark("gpu_kernels.py", "--profile", results / "kernels.json", number)
    return Job(f"profile-{number + 1}", (*profiler, "-k", KERNELS, *profiled), minutes=3, needs=profiler[0])


def missing(job: Job) -> str:
    """Why a job cannot be run here, on one line; "" where it can."""
    return f"{job.needs} is not on PATH" if job.needs and not shutil.which(job.needs) else ""


def _is_marked(path: Path) -> bool:
    return "mark.gpu" in path.read_text(encoding="utf-8")


def _pytest(path: str, *options: str) -> tuple[str, ...]:
    shown = ("-v", "-rs", "--tb=short", "--color=no", "-p", "no:cacheprovider")
    return (sys.executable, "-m", "pytest", path, "-m", "gpu", *shown, *options)


def _benchmark(name: str, *options: object) -> tuple[str, ...]:
    return (sys.executable, str(ROOT / "benchmarks" / name), *map(str, options))
