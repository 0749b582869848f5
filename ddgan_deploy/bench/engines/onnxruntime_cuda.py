"""Our graph under ONNX Runtime's CUDA provider, the fused ops by the native library's CUDA kernels where it can."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from ddgan_deploy.artifact.manifest import SAMPLER
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.bench.worker.sampling import Sample
from ddgan_deploy.engines.onnxruntime.session import modernized
from ddgan_deploy.engines.tensorrt.device import open_device
from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import Inputs
from ddgan_deploy.kernels.native_library import ort_library

PROVIDER = "CUDAExecutionProvider"
KERNELS_VARIABLE = "DDGAN_CUDA_KERNELS"
_ERRORS_ONLY = 3


def open_cuda(job: SampleJob) -> Sample:
    """Opens the sampler graph.

    Raises:
        InputError: this ONNX Runtime has no CUDA provider, or the GPU cannot be used.
    """
    if PROVIDER not in onnxruntime.get_available_providers():
        raise InputError(
            f"engine {job.engine} needs ONNX Runtime's build for CUDA: pip install 'ddgan-deploy[gpu]' where "
            "onnxruntime itself is not installed"
        )
    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    library = ort_library()
    # Without compiled kernels the ops run by their function bodies: on the CPU they would copy every value there.
    kernels = _kernels(job) if library else None
    if kernels:
        options.add_session_config_entry("ddgan.cuda_kernels", kernels)
        options.register_custom_ops_library(str(library))
    path = read_artifact(job.artifact).path / SAMPLER
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    model = modernized(path.read_bytes())
    session = onnxruntime.InferenceSession(model, options, providers=[PROVIDER, "CPUExecutionProvider"])

    def run(inputs: Inputs) -> npt.NDArray[np.float32]:
        (x_0,) = session.run(None, dict(inputs))
        return np.asarray(x_0, np.float32)

    return run


def _kernels(job: SampleJob) -> str | None:
    """The folder of kernels for this GPU: the user's, or compiled now where Triton is installed."""
    if folder := os.environ.get(KERNELS_VARIABLE):
        return folder
    if not importlib.util.find_spec("triton"):
        return None
    from ddgan_deploy.kernels.aot import compile_all

    major, minor = (int(part) for part in open_device(job.engine).compute_capability.split("."))
    # The worker's temporary folder goes with it, and the kernels may be read at any time.
    folder = str(Path(tempfile.mkdtemp()) / "cuda_kernels")
    compile_all(Path(folder), [10 * major + minor], jobs=job.threads)
    return folder
