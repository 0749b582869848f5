"""PyTorch on the CPU: as published, one step at a time, and the generator compiled."""

from __future__ import annotations

import os
import shutil
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from ddgan_deploy.bench.engines.generators import open_generator
from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.bench.worker.sampling import Sampler
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.schedule import Schedule, sample
from ddgan_deploy.noise import Noise


def open_eager(job: SampleJob) -> Sampler:
    """The reference sampler."""
    torch.set_num_threads(job.threads)
    return _sampler(*open_generator(job))


def open_compiled(job: SampleJob) -> Sampler:
    """The same with its generator through ``torch.compile``, anew for every batch size.

    Raises:
        InputError: there is no C++ compiler.
    """
    compiler = os.environ.get("CXX", "g++")
    if not shutil.which(compiler):
        raise InputError(
            f"torch.compile needs a C++ compiler, and {compiler} is not there: install one, or name it CXX"
        )
    torch.set_num_threads(job.threads)
    generator, schedule = open_generator(job)
    return _sampler(compiled(generator), schedule)


def compiled(generator: Generator) -> Generator:
    """The generator, compiled at its first call with each batch size."""
    import torch._dynamo.config as limits

    # Its default lets a program go on uncompiled after so many batch sizes.
    cast(Any, limits).recompile_limit = 1024
    return cast(Generator, torch.compile(generator, dynamic=False))


def _sampler(generator: Generator, schedule: Schedule) -> Sampler:
    def run(noise: Noise) -> npt.NDArray[np.float32]:
        x_0: npt.NDArray[np.float32] = sample(generator, schedule, noise.x_T, noise.z, noise.noise).x_prev[-1]
        return x_0

    return run
