"""What is to be had without us: PyTorch's own exporter on the T-step loop, in stock ONNX Runtime."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import nn

from ddgan_deploy.bench.engines.generators import open_generator, sample
from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.bench.worker.sampling import Sampler
from ddgan_deploy.engines.base import feeds
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.kernels.adagn.spec import reference as adagn
from ddgan_deploy.noise import Noise

_ERRORS_ONLY = 3


class Loop(nn.Module):
    """The sampler as one module."""

    def __init__(self, generator: Generator, schedule: Schedule) -> None:
        super().__init__()
        self.generator, self.schedule = generator, schedule

    def forward(self, x_T: torch.Tensor, z: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        return sample(self.generator, self.schedule, x_T, z, noise)


def open_plain(job: SampleJob) -> Sampler:
    """Exports and opens."""
    torch.set_num_threads(job.threads)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = job.threads
    # What a session needs of its files it has read or holds open.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plain.onnx"
        export_plain(*open_generator(job), path)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(noise: Noise) -> npt.NDArray[np.float32]:
        (x_0,) = session.run(None, feeds(noise))
        return np.asarray(x_0, np.float32)

    return run


def export_plain(generator: Generator, schedule: Schedule, path: Path) -> None:
    """Writes the sampler as ``torch.onnx.export`` does it, with a dynamic batch size and without any op of ours."""
    config, steps = generator.config, schedule.steps
    # A batch of 2, since torch.export takes a size of 0 or 1 for a constant.
    inputs = [torch.zeros(2, *config.image_shape), torch.zeros(2, steps, config.nz)]
    if steps > 1:
        inputs.append(torch.zeros(2, steps - 1, *config.image_shape))
    batch = torch.export.Dim("batch")
    shapes = {name: {0: batch} for name in ("x_T", "z", "noise")[: len(inputs)]}
    logger = logging.getLogger("torch.onnx")
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.export.export(Loop(generator, schedule).eval(), tuple(inputs), dynamic_shapes=shapes)
        # Tracing keeps our op as one node; a plain export has what it is made of.
        standard = traced.run_decompositions({torch.ops.ddgan.adagn.default: adagn})
        program = torch.onnx.export(
            standard,
            input_names=list(shapes),
            output_names=["x_0"],
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=True)
