"""The sampler on a GPU, in every way that ddgan-bench measures and TensorRT is not needed for, against golden data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.bench.names import (
    COMPILE_CUDA,
    CUDA_GRAPH,
    EAGER_CUDA,
    ONNXRUNTIME_CUDA,
    ONNXRUNTIME_CUDA_PORTABLE,
)
from ddgan_deploy.bench.worker.sampling import Sample, _imported
from ddgan_deploy.parity.comparison import psnr
from tests.conftest import golden_case
from tests.export.conftest import export_golden

pytestmark = pytest.mark.gpu

CASES = ("biggan", "gray_t8", "no_fir_t2")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory) -> dict[tuple[str, str], Path]:
    """(case, precision) -> its artifact."""
    folder = tmp_path_factory.mktemp("gpu")
    return {
        (case, precision): export_golden(
            golden_case(case), folder, fp16=precision == "fp16", verify=False
        ).artifact.path
        for case in CASES
        for precision in ("fp32", "fp16")
    }


def opened(engine: str, artifact: Path, case: str) -> Sample:
    # Whatever the artifact holds, PyTorch has the weights of the case.
    return _imported(engine)(SampleJob(engine, artifact, golden_case(case).path, threads=2, first_batch=1))


def runtime() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA provider: pip install onnxruntime-gpu")


def check(sample: Sample, case: str, half: bool) -> None:
    golden = golden_case(case)
    expected = golden.io["x_prev"][-1]
    x_0 = sample(golden.inputs)
    assert x_0.dtype == np.float32 and x_0.shape == expected.shape
    if half:
        assert psnr(x_0, expected) >= 40
    else:
        np.testing.assert_allclose(x_0, expected, rtol=0, atol=1e-4)
    # Again, and each image alone.
    np.testing.assert_array_equal(sample(golden.inputs), x_0)
    alone = sample({name: np.ascontiguousarray(value[1:2]) for name, value in golden.inputs.items()})
    np.testing.assert_allclose(alone, x_0[1:2], rtol=0, atol=2e-2 if half else 1e-4)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("engine", [ONNXRUNTIME_CUDA_PORTABLE, ONNXRUNTIME_CUDA])
def test_onnx_runtime(artifacts, engine, precision, case, library):
    runtime()
    check(opened(engine, artifacts[case, precision], case), case, half=precision == "fp16")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("engine", [EAGER_CUDA, COMPILE_CUDA, CUDA_GRAPH])
def test_pytorch(artifacts, engine, case):
    check(opened(engine, artifacts[case, "fp32"], case), case, half=engine == CUDA_GRAPH)
