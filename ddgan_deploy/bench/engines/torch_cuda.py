"""PyTorch on a GPU: as published, compiled, and in float16 with all steps captured in one CUDA graph."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ddgan_deploy.bench.engines.reference import open_reference, sampled_by, x_0_of
from ddgan_deploy.bench.engines.torch_cpu import compiled
from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.bench.worker.sampling import Sample
from ddgan_deploy.engines.tensorrt.device import open_device
from ddgan_deploy.families.base import Reference
from ddgan_deploy.inputs import Inputs

_WARM_UP_RUNS = 3


def open_eager(job: SampleJob) -> Sample:
    """The reference sampler's steps, float32, one kernel at a time.

    Raises:
        InputError: PyTorch cannot use the GPU.
    """
    return sampled_by(_on_gpu(job), "cuda")


def open_compiled(job: SampleJob) -> Sample:
    """The same with its network through ``torch.compile``, anew for every batch size.

    Raises:
        InputError: PyTorch cannot use the GPU.
    """
    return sampled_by(_on_gpu(job).mapped(compiled), "cuda")


def open_graphed(job: SampleJob) -> Sample:
    """All steps in float16 as one CUDA graph.

    Raises:
        InputError: PyTorch cannot use the GPU.
    """
    return _Graphed(_on_gpu(job).half())


def _on_gpu(job: SampleJob) -> Reference:
    """The reference sampler with its networks on the GPU."""
    open_device(job.engine)
    return open_reference(job).mapped(lambda network: network.cuda())


class _Graphed:
    """One graph for the batch size at hand."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._inputs: dict[str, torch.Tensor] = {}
        self._batch = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        values = {name: torch.from_numpy(value) for name, value in inputs.items()}
        batch = len(next(iter(values.values())))
        with torch.inference_mode():
            if self._graph is None or self._batch != batch:
                self._inputs, self._batch = {name: value.cuda() for name, value in values.items()}, batch
                self._graph = self._capture()
            for name, value in values.items():
                self._inputs[name].copy_(value)
            self._graph.replay()
            x_0: npt.NDArray[np.float32] = self._output.cpu().numpy()
        return x_0

    def _capture(self) -> torch.cuda.CUDAGraph:
        # What libraries make at first use must not fall into the capture.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_RUNS):
                x_0_of(self._reference, self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._output = x_0_of(self._reference, self._inputs)
        return graph
