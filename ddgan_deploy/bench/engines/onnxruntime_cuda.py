"""Our graph under ONNX Runtime's CUDA provider: the fused ops by our CUDA kernels, or by their function bodies."""

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
    """Opens the sampler graph with the native library's CUDA kernels.

    Raises:
        InputError: this ONNX Runtime has no CUDA provider, the GPU cannot be used, or the library or its kernels are
            not there.
    """
    _check(job)
    library = ort_library()
    if library is None:
        raise InputError(
            f"engine {job.engine} needs the native library, which is not built here (see docs/installation.md): "
            f"measure {job.engine}-portable"
        )
    options: Any = onnxruntime.SessionOptions()
    # Read when the library is registered.
    options.add_session_config_entry("ddgan.cuda_kernels", _kernels(job))
    options.register_custom_ops_library(str(library))
    return _opened(job, options)


def open_portable(job: SampleJob) -> Sample:
    """Opens the sampler graph without anything of ours.

    Raises:
        InputError: this ONNX Runtime has no CUDA provider, or the GPU cannot be used.
    """
    _check(job)
    return _opened(job, onnxruntime.SessionOptions())


def _check(job: SampleJob) -> None:
    if PROVIDER not in onnxruntime.get_available_providers():
        raise InputError(
            f"engine {job.engine} needs ONNX Runtime's build for CUDA: pip install 'ddgan-deploy[gpu]' where "
            "onnxruntime itself is not installed"
        )
    # Imports PyTorch, which loads the libraries of CUDA and cuDNN that the provider needs and would not find.
    open_device(job.engine)


def _opened(job: SampleJob, options: Any) -> Sample:
    options.log_severity_level = _ERRORS_ONLY
    path = read_artifact(job.artifact).path / SAMPLER
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    model = modernized(path.read_bytes())
    providers = [PROVIDER, "CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(model, options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's own errors share no base class
        raise InputError(
            f"engine {job.engine}: ONNX Runtime cannot load {path}: {str(error).splitlines()[0]}"
        ) from None
    # Where the provider's libraries cannot be loaded ONNX Runtime goes on without it.
    if PROVIDER not in session.get_providers():
        raise InputError(
            f"engine {job.engine}: ONNX Runtime {onnxruntime.__version__} did not load its CUDA provider: install CUDA "
            "and cuDNN of the major versions that it was built for"
        )

    def run(inputs: Inputs) -> npt.NDArray[np.float32]:
        (x_0,) = session.run(None, dict(inputs))
        return np.asarray(x_0, np.float32)

    return run


def _kernels(job: SampleJob) -> str:
    """The folder of kernels for this GPU: the user's, or compiled now where Triton is installed."""
    if folder := os.environ.get(KERNELS_VARIABLE):
        return folder
    if not importlib.util.find_spec("triton"):
        raise InputError(
            f"engine {job.engine} needs compiled kernels: install Triton ('ddgan-deploy[kernels]'), or name a folder "
            f"that python -m ddgan_deploy.kernels.aot wrote in {KERNELS_VARIABLE}"
        )
    from ddgan_deploy.kernels.aot import compile_all

    major, minor = (int(part) for part in open_device(job.engine).compute_capability.split("."))
    # The worker's temporary folder goes with it, and the kernels may be read at any time.
    folder = str(Path(tempfile.mkdtemp()) / "cuda_kernels")
    compile_all(Path(folder), [10 * major + minor], jobs=job.threads)
    return folder
