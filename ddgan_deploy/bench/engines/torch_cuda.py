"""PyTorch on a GPU: as published, compiled, and in float16 with all steps captured in one CUDA graph."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ddgan_deploy.bench.engines.generators import Denoise, open_generator, sample
from ddgan_deploy.bench.engines.torch_cpu import compiled
from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.bench.worker.sampling import Sampler
from ddgan_deploy.engines.base import feeds
from ddgan_deploy.engines.tensorrt.device import open_device
from ddgan_deploy.families.ddgan.blocks import Conditioning
from ddgan_deploy.families.ddgan.layers import NIN, PyramidConv, Resample
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.noise import Noise

_WARM_UP_RUNS = 3


def open_eager(job: SampleJob) -> Sampler:
    """The reference sampler's steps, float32, one kernel at a time.

    Raises:
        InputError: PyTorch cannot use the GPU.
    """
    return _sampler(*_generator(job))


def open_compiled(job: SampleJob) -> Sampler:
    """The same with its generator through ``torch.compile``, anew for every batch size.

    Raises:
        InputError: PyTorch cannot use the GPU.
    """
    generator, schedule = _generator(job)
    return _sampler(compiled(generator), schedule)


def open_graphed(job: SampleJob) -> Sampler:
    """All steps in float16 as one CUDA graph.

    Raises:
        InputError: PyTorch cannot use the GPU.
    """
    generator, schedule = _generator(job)
    return _Graphed(float16_denoise(generator), schedule)


def _generator(job: SampleJob) -> tuple[Generator, Schedule]:
    """The generator on the GPU."""
    open_device(job.engine)
    generator, schedule = open_generator(job)
    return generator.cuda(), schedule


def float16_denoise(generator: Generator) -> Denoise:
    """The generator with its U-Net in float16; conditioning, statistics and the state stay in float32.

    The generator itself is changed.
    """
    for module in generator.modules():
        if isinstance(module, nn.Conv2d | NIN | Resample | PyramidConv):
            for weight in module.parameters(recurse=False):
                weight.data = weight.data.half()
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.half())

    def denoise(x: torch.Tensor, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        time_biases, styles = generator.condition(t, z)
        raw = generator.denoise(x.half(), Conditioning([bias.half() for bias in time_biases], styles)).float()
        return torch.tanh(raw) if generator.squash == "tanh" else raw

    return denoise


def _sampler(denoise: Denoise, schedule: Schedule) -> Sampler:
    def run(noise: Noise) -> npt.NDArray[np.float32]:
        x, z, *rest = (torch.from_numpy(value).cuda() for value in feeds(noise).values())
        with torch.inference_mode():
            x_0: npt.NDArray[np.float32] = sample(denoise, schedule, x, z, rest[0] if rest else None).cpu().numpy()
        return x_0

    return run


class _Graphed:
    """One graph for the batch size at hand."""

    def __init__(self, denoise: Denoise, schedule: Schedule) -> None:
        self._denoise, self._schedule = denoise, schedule
        self._inputs: list[torch.Tensor] = []
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, noise: Noise) -> npt.NDArray[np.float32]:
        values = [torch.from_numpy(value) for value in feeds(noise).values()]
        with torch.inference_mode():
            if self._graph is None or self._inputs[0].shape != values[0].shape:
                self._inputs = [value.cuda() for value in values]
                self._graph = self._capture()
            for static, value in zip(self._inputs, values, strict=True):
                static.copy_(value)
            self._graph.replay()
            x_0: npt.NDArray[np.float32] = self._output.cpu().numpy()
        return x_0

    def _capture(self) -> torch.cuda.CUDAGraph:
        # What libraries make at first use must not fall into the capture.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_RUNS):
                self._run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._output = self._run()
        return graph

    def _run(self) -> torch.Tensor:
        x, z, *rest = self._inputs
        return sample(self._denoise, self._schedule, x, z, rest[0] if rest else None)
