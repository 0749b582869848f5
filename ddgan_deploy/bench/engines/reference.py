"""What PyTorch's rows run: the family's reference sampler of an artifact."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.bench.worker.sampling import Sample
from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.families.base import Reference
from ddgan_deploy.families.registry import family, model_and_sampling, told_by
from ddgan_deploy.inputs import Inputs


def open_reference(job: SampleJob) -> Reference:
    """The sampler of an artifact's architecture, on the CPU, in evaluation mode."""
    info = read_artifact(job.artifact, check_files=False).manifest.family
    model, sampling = model_and_sampling(info)
    if job.checkpoint is None:
        return family(info.name).untrained(model, sampling)
    # What the weights do not tell is as it was at the export.
    return load_checkpoint(job.checkpoint, known=told_by(model, sampling)).reference(sampling)


def sampled_by(reference: Reference, device: str = "cpu") -> Sample:
    """The sampler as one function of arrays; its networks are on that device."""

    def run(inputs: Inputs) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            x_0 = x_0_of(reference, {name: torch.from_numpy(value).to(device) for name, value in inputs.items()})
            drawn: npt.NDArray[np.float32] = x_0.cpu().numpy()
        return drawn

    return run


def x_0_of(reference: Reference, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """x_0 [N, C, H, W], of which the reference tells last."""
    for value in reference.run(inputs):
        x_0 = value
    return x_0
