"""ONNX Runtime's CUDA ops on a GPU, against the same tolerances as every other form of the ops."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from ddgan_deploy.kernels.adagn.spec import ADAGN_SILU, BY_ACTIVATION
from ddgan_deploy.kernels.adagn_grad.spec import BY_ACTIVATION as GRAD_BY_ACTIVATION
from ddgan_deploy.kernels.occupancy import SMS
from ddgan_deploy.kernels.op import OpSpec
from ddgan_deploy.kernels.philox_normal.philox import integers, normal
from ddgan_deploy.kernels.philox_normal.spec import INTEGER, NORMAL_AT
from ddgan_deploy.kernels.philox_normal.spec import SPEC as PHILOX
from ddgan_deploy.kernels.style_lrelu.spec import SPEC as STYLE_LRELU
from tests.kernels import cases
from tests.kernels.conftest import op_model
from tests.kernels.cuda_probe import compute_in

pytestmark = pytest.mark.gpu

Session = Callable[[onnx.ModelProto], onnxruntime.InferenceSession]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernels, compiled for this GPU."""
    from ddgan_deploy.kernels.aot import compile_all

    major, minor = torch.cuda.get_device_capability()
    arch = 10 * major + minor
    if arch not in SMS:
        pytest.skip(f"python -m ddgan_deploy.kernels.aot does not know architecture {arch}")
    folder = tmp_path_factory.mktemp("aot") / "cuda_kernels"
    compile_all(folder, [arch], jobs=os.cpu_count() or 1)
    return folder


@pytest.fixture(scope="module")
def session(library: Path, compiled: Path) -> Session:
    """Opens a model on the CUDA provider, every node of it."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA provider: pip install onnxruntime-gpu")

    def opened(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        # Read when the library is registered.
        options.add_session_config_entry("ddgan.cuda_kernels", str(compiled))
        options.register_custom_ops_library(str(library))
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CUDAExecutionProvider"])

    return opened


def run(session: Session, spec: OpSpec, inputs: Sequence[np.ndarray], **attributes: Any) -> np.ndarray:
    """The op's output, the same from each of three runs."""
    opened = session(op_model(spec, inputs, **attributes))
    feeds = {name: value for (name, _), value in zip(spec.inputs, inputs, strict=True)}
    first, *others = (opened.run(None, feeds)[0] for _ in range(3))
    for other in others:
        np.testing.assert_array_equal(other, first)
    return first


def check_adagn(
    session: Session, shape: cases.AdaGNShape, inputs: Sequence[np.ndarray], activation: str = "silu"
) -> None:
    y = run(session, BY_ACTIVATION[activation], inputs, groups=shape[-1], epsilon=1e-6)
    error, torch_error = cases.adagn_errors(shape, inputs, activation, y)
    assert y.dtype == inputs[0].dtype and y.shape == inputs[0].shape
    assert error <= cases.tolerance(torch_error, str(y.dtype))


@pytest.mark.parametrize("style_rows", [1, None])
@pytest.mark.parametrize("activation", ["none", "silu"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "shape", [*cases.ADAGN_SHAPES, cases.ADAGN_LARGE, (0, 8, 4, 4, 2), (2, 8, 200, 300, 1)], ids=str
)
def test_adagn(session: Session, shape: cases.AdaGNShape, dtype: str, activation: str, style_rows: int | None) -> None:
    check_adagn(session, shape, cases.adagn_inputs(shape, dtype, style_rows), activation)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_adagn_of_a_large_mean(session: Session, dtype: str) -> None:
    for shape in (cases.ADAGN_SHAPES[0], cases.ADAGN_LARGE):
        check_adagn(session, shape, cases.adagn_inputs(shape, dtype, None, offset=30.0))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_adagn_of_one_style_and_many(session: Session, dtype: str) -> None:
    shape = (5, 64, 16, 16, 16)
    (x, scale, shift), (_, one_scale, one_shift) = (cases.adagn_inputs(shape, dtype, rows) for rows in (None, 1))
    check_adagn(session, shape, (x, one_scale, shift))
    check_adagn(session, shape, (x, scale, one_shift))


def test_adagn_in_bfloat16(session: Session) -> None:
    shape = (5, 64, 16, 16, 16)
    inputs = [
        torch.from_numpy(value).bfloat16().float().numpy() for value in cases.adagn_inputs(shape, "float32", None)
    ]
    model = op_model(ADAGN_SILU, inputs, groups=shape[-1], epsilon=1e-6)
    compute_in(model, TensorProto.BFLOAT16)
    (y,) = session(model).run(None, dict(zip(("x", "scale", "shift"), inputs, strict=True)))
    error, torch_error = cases.adagn_errors(shape, inputs, "silu", y)
    # The output's rounding, and what float32 leaves.
    assert error <= 2.0**-8 * float(np.abs(y).max()) + cases.tolerance(torch_error, "float32")


@pytest.mark.parametrize("style_rows", [1, None])
@pytest.mark.parametrize("activation", ["none", "silu"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [*cases.ADAGN_GRAD_SHAPES, cases.ADAGN_LARGE, (2, 8, 200, 300, 1)], ids=str)
def test_adagn_grad(
    session: Session, shape: cases.AdaGNShape, dtype: str, activation: str, style_rows: int | None
) -> None:
    inputs = cases.adagn_grad_inputs(shape, dtype, style_rows)
    dx = run(session, GRAD_BY_ACTIVATION[activation], inputs, groups=shape[-1], epsilon=1e-6)
    error, torch_error = cases.adagn_grad_errors(shape, inputs, activation, dx)
    assert dx.dtype == inputs[1].dtype and dx.shape == inputs[1].shape
    assert error <= cases.tolerance(torch_error, dtype)


@pytest.mark.parametrize("noise", cases.STYLE_NOISES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [*cases.STYLE_SHAPES, (2, 64, 256, 256)], ids=str)
def test_style_lrelu(session: Session, shape: tuple[int, ...], dtype: str, noise: str) -> None:
    inputs = cases.style_inputs(shape, dtype, noise)
    inputs[0].flat[0] = np.nan
    y = run(session, STYLE_LRELU, inputs, alpha=0.2)
    assert y.dtype == dtype and y.shape == shape
    np.testing.assert_allclose(y, cases.style_expected(inputs), rtol=2**-10, atol=2e-6)


@pytest.mark.parametrize("coefficients", cases.REVERSE_COEFFICIENTS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [*cases.REVERSE_SHAPES, (0, 3, 4, 4), (3, 3, 256, 256)], ids=str)
@pytest.mark.parametrize("op", cases.REVERSE_OPS)
def test_reverse_step(session: Session, op: str, shape: tuple[int, ...], dtype: str, coefficients: str) -> None:
    inputs = cases.reverse_inputs(op, shape, dtype, cases.REVERSE_COEFFICIENTS[coefficients])
    inputs[0].flat[:1] = np.nan
    x_prev = run(session, cases.REVERSE_OPS[op], inputs)
    assert x_prev.dtype == np.float32 and x_prev.shape == shape
    np.testing.assert_allclose(x_prev, cases.reverse_expected(inputs), rtol=0, atol=2e-6)


def test_philox_normal_at_and_integer(session: Session) -> None:
    seeds, shape = cases.PHILOX_SEEDS[:, None], [3, 127, 129]
    noise = run(session, NORMAL_AT, (seeds, np.array(5)), shape=shape)
    np.testing.assert_array_max_ulp(noise, normal(cases.PHILOX_SEEDS, 5, shape), maxulp=cases.PHILOX_ULP)
    values = run(session, INTEGER, (seeds,), stream=5, shape=shape, below=1000)
    np.testing.assert_array_equal(values, integers(cases.PHILOX_SEEDS, 5, shape, 1000))


@pytest.mark.parametrize("stream", [*cases.PHILOX_STREAMS, 2**32 - 1])
@pytest.mark.parametrize("shape", [*cases.PHILOX_SHAPES, (3, 127, 129), (0, 4)], ids=str)
def test_philox_normal(session: Session, shape: tuple[int, ...], stream: int) -> None:
    noise = run(session, PHILOX, (cases.PHILOX_SEEDS[:, None],), stream=stream, shape=list(shape))
    expected = normal(cases.PHILOX_SEEDS, stream, shape)
    assert noise.shape == expected.shape
    np.testing.assert_array_max_ulp(noise, expected, maxulp=cases.PHILOX_ULP)
