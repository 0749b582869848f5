"""What is to be had without us: PyTorch's own exporter on the T-step loop, in stock ONNX Runtime."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import nn

from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.bench.engines.reference import open_reference, x_0_of
from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.bench.worker.sampling import Sample
from ddgan_deploy.families.base import Reference
from ddgan_deploy.inputs import Inputs
from ddgan_deploy.kernels.adagn.spec import reference as adagn
from ddgan_deploy.sampler import Sampler

_ERRORS_ONLY = 3


class Loop(nn.Module):
    """The sampler as one module of its inputs, in their order."""

    def __init__(self, reference: Reference, names: Sequence[str]) -> None:
        super().__init__()
        self.reference, self.names = reference, names
        # So that tracing knows the weights as such.
        self.networks = nn.ModuleList(module for name, module in reference.modules() if not name)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return x_0_of(self.reference, dict(zip(self.names, inputs, strict=True)))


def open_plain(job: SampleJob) -> Sample:
    """Exports and opens."""
    torch.set_num_threads(job.threads)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = job.threads
    sampler = read_artifact(job.artifact, check_files=False).manifest.sampler
    # What a session needs of its files it has read or holds open.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plain.onnx"
        export_plain(open_reference(job), sampler, path)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(inputs: Inputs) -> npt.NDArray[np.float32]:
        (x_0,) = session.run(None, dict(inputs))
        return np.asarray(x_0, np.float32)

    return run


def export_plain(reference: Reference, sampler: Sampler, path: Path) -> None:
    """Writes the sampler as ``torch.onnx.export`` does it, with a dynamic batch size and without any op of ours."""
    # A batch of 2, since torch.export takes a size of 0 or 1 for a constant.
    told = {name: (getattr(torch, dtype), (2, *shape)) for name, (dtype, shape) in sampler.inputs().items()}
    inputs = tuple(torch.zeros(shape, dtype=dtype) for dtype, shape in told.values())
    batch = torch.export.Dim("batch")
    logger = logging.getLogger("torch.onnx")
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        loop = Loop(reference, tuple(told)).eval()
        traced = torch.export.export(loop, inputs, dynamic_shapes=(tuple({0: batch} for _ in inputs),))
        # Tracing keeps our op as one node; a plain export has what it is made of.
        standard = traced.run_decompositions({torch.ops.ddgan.adagn.default: adagn})
        program = torch.onnx.export(
            standard,
            input_names=list(told),
            output_names=["x_0"],
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=True)
