"""Every engine as one function from a sampler's inputs to x_0, and how long it takes to get and to call it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.bench.names import (
    COMPILE,
    COMPILE_CUDA,
    CUDA_GRAPH,
    EAGER,
    EAGER_CUDA,
    ONNXRUNTIME_CUDA,
    ONNXRUNTIME_CUDA_PORTABLE,
    PLAIN,
)
from ddgan_deploy.bench.results import Opened
from ddgan_deploy.inputs import Inputs, draw, examples

Sample = Callable[[Inputs], npt.NDArray[np.float32]]
"""x_0 [N, C, H, W] from the sampler's inputs; returns when it is in memory."""
Opener = Callable[[SampleJob], Sample]
_MODULES = {
    EAGER: "torch_cpu:open_eager",
    COMPILE: "torch_cpu:open_compiled",
    PLAIN: "plain:open_plain",
    EAGER_CUDA: "torch_cuda:open_eager",
    COMPILE_CUDA: "torch_cuda:open_compiled",
    CUDA_GRAPH: "torch_cuda:open_graphed",
    ONNXRUNTIME_CUDA: "onnxruntime_cuda:open_cuda",
    ONNXRUNTIME_CUDA_PORTABLE: "onnxruntime_cuda:open_portable",
}
"""Engine -> module in this package, and its function; every other engine is `open_artifact`'s."""


class SampleRunner:
    """An engine that was opened and has run once.

    Raises:
        InputError: it is not installed or cannot run here.
    """

    def __init__(self, job: SampleJob) -> None:
        start = time.perf_counter()
        opener = _imported(job.engine)
        imported = time.perf_counter()
        self._sample = opener(job)
        loaded = time.perf_counter()
        # Not before: reading the manifest imports packages, too.
        from ddgan_deploy.artifact.reading import read_artifact

        self._manifest = read_artifact(job.artifact, check_files=False).manifest
        inputs = self._inputs(job.first_batch)
        first = time.perf_counter()
        self._sample(inputs)
        load_s = (loaded - imported) + (time.perf_counter() - first)
        self._opened = Opened(imported - start, load_s)
        self._input: Inputs | None = None

    def _inputs(self, batch: int) -> Inputs:
        sampler = self._manifest.sampler
        return draw(sampler, range(batch), examples(sampler.knobs, range(batch)))

    def opened(self) -> Opened:
        """What opening took."""
        return self._opened

    def prepare(self, batch: int) -> None:
        """Draws the inputs of a batch, and runs it once so that what is made at first use is made."""
        self._input = self._inputs(batch)
        self._sample(self._input)

    def measure(self) -> float:
        """Seconds of one run."""
        assert self._input is not None
        start = time.perf_counter()
        self._sample(self._input)
        return time.perf_counter() - start

    def memory(self) -> tuple[float, float | None]:
        """Most megabytes so far of this process, and on the GPU as far as PyTorch knows."""
        return peak_mb(), _gpu_peak_mb()


def peak_mb() -> float:
    """Most memory that this process has had, in megabytes.

    Linux's own count: getrusage begins a new process with the figure of the one that started it.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("the system does not tell a process's peak memory")


def _gpu_peak_mb() -> float | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return float(torch.cuda.max_memory_reserved() / 1e6)


def _imported(engine: str) -> Opener:
    """What opens an engine, after its packages were imported."""
    if engine in _MODULES:
        module, _, function = _MODULES[engine].partition(":")
        opener: Opener = getattr(importlib.import_module(f"ddgan_deploy.bench.engines.{module}"), function)
        return opener
    # An engine's module has the first part of its name and imports its runtime, as far as it can be missing, itself.
    name = f"ddgan_deploy.engines.{engine.partition('-')[0]}"
    if found := importlib.util.find_spec(name):
        importlib.import_module(f"{name}.engine" if found.submodule_search_locations else name)
    return _open_artifact


def _open_artifact(job: SampleJob) -> Sample:
    from ddgan_deploy.engines import open_artifact

    return open_artifact(job.artifact, job.engine, job.threads).sample
