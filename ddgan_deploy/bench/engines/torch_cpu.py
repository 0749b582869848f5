"""PyTorch on the CPU: as published, one step at a time, and the generator compiled."""

from __future__ import annotations

import os
import shutil
from typing import Any, cast

import torch

from ddgan_deploy.bench.engines.reference import open_reference, sampled_by
from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.bench.worker.sampling import Sample
from ddgan_deploy.errors import InputError


def open_eager(job: SampleJob) -> Sample:
    """The reference sampler."""
    torch.set_num_threads(job.threads)
    return sampled_by(open_reference(job))


def open_compiled(job: SampleJob) -> Sample:
    """The same with its network through ``torch.compile``, anew for every batch size.

    Raises:
        InputError: there is no C++ compiler.
    """
    compiler = os.environ.get("CXX", "g++")
    if not shutil.which(compiler):
        raise InputError(
            f"torch.compile needs a C++ compiler, and {compiler} is not there: install one, or name it CXX"
        )
    torch.set_num_threads(job.threads)
    return sampled_by(open_reference(job).mapped(compiled))


def compiled(network: Any) -> Any:
    """The network, compiled at its first call with each batch size."""
    import torch._dynamo.config as limits

    # Its default lets a program go on uncompiled after so many batch sizes.
    cast(Any, limits).recompile_limit = 1024
    return torch.compile(network, dynamic=False)
