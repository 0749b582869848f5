"""The TensorRT plugins in engines of one node, on a GPU, against the same tolerances as every other form of the ops."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from ddgan_deploy.kernels.adagn import launches as adagn
from ddgan_deploy.kernels.occupancy import SMS
from ddgan_deploy.kernels.op import DOMAIN, IR_VERSION, OPSET, VERSION
from ddgan_deploy.kernels.philox_normal.philox import normal
from tests.kernels import cases

pytestmark = pytest.mark.gpu

TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int64": TensorProto.INT64}
BATCHES = (1, 2, 5)
SHAPES = [
    # c, h, w, groups
    (64, 16, 16, 16),
    (12, 7, 5, 3),
    (8, 1, 1, 2),
]
SPLIT = [
    (16, 48, 48, 4),
    (12, 35, 31, 3),
    (64, 256, 256, 16),
]

Tensor = tuple[str, str, Sequence[int]]
"""Name, type and shape without the batch."""


class Engine:
    """One engine and what runs it.

    Args:
        plan: serialized.
        output: of the graph.
        channels_last: image tensors of the engine, by name, that are so in memory.
    """

    def __init__(self, trt: Any, plan: bytes, output: Tensor, channels_last: Sequence[str]) -> None:
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        assert self._engine is not None
        self._context = self._engine.create_execution_context()
        self._output = output
        self._channels_last = channels_last

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output, the same from each of three runs."""
        name, kind, shape = self._output
        batch = len(next(iter(inputs.values())))
        tensors = {key: torch.from_numpy(value).cuda() for key, value in inputs.items()}
        tensors[name] = torch.full((batch, *shape), torch.nan, dtype=getattr(torch, kind), device="cuda")
        for key in self._channels_last:
            tensors[key] = tensors[key].contiguous(memory_format=torch.channels_last)
        for key, tensor in tensors.items():
            if key != name:
                assert self._context.set_input_shape(key, tuple(tensor.shape))
            assert self._context.set_tensor_address(key, tensor.data_ptr())
        first, *others = (self._run(tensors[name]) for _ in range(3))
        for other in others:
            np.testing.assert_array_equal(other, first)
        return first

    def _run(self, output: torch.Tensor) -> np.ndarray:
        output.fill_(torch.nan)
        torch.cuda.synchronize()
        stream = torch.cuda.Stream()
        assert self._context.execute_async_v3(stream.cuda_stream)
        stream.synchronize()
        return output.cpu().numpy()


Build = Callable[..., Engine]


@pytest.fixture(scope="module")
def trt() -> Any:
    return pytest.importorskip("tensorrt")


@pytest.fixture(scope="module")
def arch() -> int:
    major, minor = torch.cuda.get_device_capability()
    if 10 * major + minor not in SMS:
        pytest.skip(f"the kernels are not compiled for architecture {10 * major + minor}")
    return 10 * major + minor


@pytest.fixture(scope="module")
def build(trt: Any, arch: int) -> Build:
    """Builds an engine of nodes; ``channels_last``: graph inputs and outputs that are so in memory."""

    def built(
        nodes: Sequence[onnx.NodeProto], inputs: Sequence[Tensor], output: Tensor, channels_last: Sequence[str] = ()
    ) -> Engine:
        return Engine(trt, serialized(trt, arch, nodes, inputs, output, channels_last), output, channels_last)

    return built


def serialized(
    trt: Any,
    arch: int,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Tensor],
    output: Tensor,
    channels_last: Sequence[str],
) -> bytes:
    from ddgan_deploy.kernels import trt_launch

    trt_launch.register_plugins()
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    flags = trt.NetworkDefinitionCreationFlag
    network = builder.create_network(1 << int(flags.STRONGLY_TYPED) | 1 << int(flags.PREFER_AOT_PYTHON_PLUGINS))
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(model(nodes, inputs, output).SerializeToString())
    assert parsed, [parser.get_error(number).desc() for number in range(parser.num_errors)]
    kinds = {name: kind for name, kind, _ in (*inputs, output)}
    tensors = [network.get_input(number) for number in range(network.num_inputs)] + [network.get_output(0)]
    for tensor in tensors:
        if tensor.name in channels_last:
            form = trt.TensorFormat.HWC8 if kinds[tensor.name] == "float16" else trt.TensorFormat.HWC
            tensor.allowed_formats = 1 << int(form)
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    for name, _, shape in inputs:
        profile.set_shape(name, *((batch, *shape) for batch in BATCHES))
    config.add_optimization_profile(profile)
    with trt_launch.target(arch):
        plan = builder.build_serialized_network(network, config)
    assert plan is not None
    return bytes(plan)


def model(nodes: Sequence[onnx.NodeProto], inputs: Sequence[Tensor], output: Tensor) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TYPES[kind], ["batch", *shape]) for name, kind, shape in inputs]
    name, kind, shape = output
    told = helper.make_tensor_value_info(name, TYPES[kind], ["batch", *shape])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)]
    return helper.make_model(
        helper.make_graph(nodes, "plugins", values, [told]), opset_imports=opsets, ir_version=IR_VERSION
    )


def node(op: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], op, domain=DOMAIN, plugin_namespace=DOMAIN, **attributes)


def adagn_tensors(shape: tuple[int, int, int, int], dtype: str) -> tuple[list[Tensor], Tensor]:
    channels, height, width, _ = shape
    image, style = (dtype, (channels, height, width)), (dtype, (channels,))
    return [("x", *image), ("scale", *style), ("shift", *style)], ("y", *image)


def adagn_pair(shape: tuple[int, int, int, int]) -> list[onnx.NodeProto]:
    _, height, width, groups = shape
    common = {"groups": groups, "chunk_pixels": adagn.chunk_pixels(height * width)}
    return [
        node("AdaGNStats", ["x"], "partials", **common),
        node("AdaGNSiluApply", ["x", "partials", "scale", "shift"], "y", epsilon=1e-6, **common),
    ]


def check_adagn(engine: Engine, shape: tuple[int, int, int, int], dtype: str) -> None:
    for batch in BATCHES:
        full = (batch, *shape)
        inputs = cases.adagn_inputs(full, dtype, None)
        y = engine(dict(zip(("x", "scale", "shift"), inputs, strict=True)))
        error, torch_error = cases.adagn_errors(full, inputs, "silu", y)
        assert error <= cases.tolerance(torch_error, dtype)


def skip_what_is_padded(shape: Sequence[int], dtype: str, channels_last: Sequence[str]) -> None:
    if channels_last and dtype == "float16" and shape[0] % 8:
        pytest.skip("float16 channels-last has gaps where channels are no multiple of 8")


@pytest.mark.parametrize("channels_last", [(), ("x", "y")], ids=["linear", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_adagn(build: Build, shape: tuple[int, int, int, int], dtype: str, channels_last: Sequence[str]) -> None:
    skip_what_is_padded(shape, dtype, channels_last)
    inputs, output = adagn_tensors(shape, dtype)
    one = node("AdaGNSilu", ["x", "scale", "shift"], "y", groups=shape[-1], epsilon=1e-6)
    check_adagn(build([one], inputs, output, channels_last), shape, dtype)


@pytest.mark.parametrize(
    "channels_last", [(), ("x", "y"), ("y",)], ids=["linear", "channels_last", "statistics_of_the_other"]
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", SPLIT, ids=str)
def test_adagn_in_two(build: Build, shape: tuple[int, int, int, int], dtype: str, channels_last: Sequence[str]) -> None:
    skip_what_is_padded(shape, dtype, channels_last)
    inputs, output = adagn_tensors(shape, dtype)
    check_adagn(build(adagn_pair(shape), inputs, output, channels_last), shape, dtype)


@pytest.mark.parametrize("channels_last", [(), ("dy", "x", "dx")], ids=["linear", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [SHAPES[0], *SPLIT], ids=str)
def test_adagn_grad(build: Build, shape: tuple[int, int, int, int], dtype: str, channels_last: Sequence[str]) -> None:
    skip_what_is_padded(shape, dtype, channels_last)
    _, height, width, groups = shape
    (x, *styles), (_, *image) = adagn_tensors(shape, dtype)
    names = ["dy", "x", "scale", "shift"]
    if shape in SPLIT:
        common = {"groups": groups, "chunk_pixels": adagn.chunk_pixels(height * width)}
        given = ["dy", "x", "partials"]
        nodes = [
            node("AdaGNStats", ["x"], "partials", **common),
            node("AdaGNSiluGradSums", [*given, "scale", "shift"], "sums", epsilon=1e-6, **common),
            node("AdaGNSiluGradApply", [*given, "sums", "scale", "shift"], "dx", epsilon=1e-6, **common),
        ]
    else:
        nodes = [node("AdaGNSiluGrad", names, "dx", groups=groups, epsilon=1e-6)]
    engine = build(nodes, [("dy", *image), x, *styles], ("dx", *image), channels_last)
    for batch in BATCHES:
        full = (batch, *shape)
        inputs = cases.adagn_grad_inputs(full, dtype, None)
        dx = engine(dict(zip(names, inputs, strict=True)))
        error, torch_error = cases.adagn_grad_errors(full, inputs, "silu", dx)
        assert error <= cases.tolerance(torch_error, dtype)


@pytest.mark.parametrize("op", cases.REVERSE_OPS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("channels_last", [False, True], ids=["linear", "channels_last"])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 7, 3), (12, 1, 1)], ids=str)
def test_reverse_step(build: Build, shape: tuple[int, int, int], channels_last: bool, dtype: str, op: str) -> None:
    spec = cases.REVERSE_OPS[op]
    *names, coefficients = (name for name, _ in spec.inputs)
    if channels_last and dtype == "float16":
        pytest.skip("float16 and float32 have no channels-last format in common")
    # Constant: a graph's inputs have a batch here.
    row = np.array(cases.REVERSE_COEFFICIENTS["noise"], np.float32)
    constant = helper.make_node("Constant", [], [coefficients], value=onnx.numpy_helper.from_array(row))
    inputs = [(name, dtype if name == "out" else "float32", shape) for name in names]
    nodes = [constant, node(spec.name, [*names, coefficients], "x_prev")]
    engine = build(nodes, inputs, ("x_prev", "float32", shape), (*names, "x_prev") if channels_last else ())
    for batch in BATCHES:
        values = cases.reverse_inputs(op, (batch, *shape), dtype)
        x_prev = engine(dict(zip(names, values[:-1], strict=True)))
        np.testing.assert_allclose(x_prev, cases.reverse_expected(values), rtol=0, atol=2e-6)


@pytest.mark.parametrize("stream", [0, 128])
@pytest.mark.parametrize("shape", cases.PHILOX_SHAPES, ids=str)
def test_philox_normal(build: Build, shape: tuple[int, ...], stream: int) -> None:
    one = node("PhiloxNormal", ["seed"], "noise", stream_number=stream, shape=list(shape))
    engine = build([one], [("seed", "int64", (1,))], ("noise", "float32", shape))
    for batch in BATCHES:
        seeds = cases.PHILOX_SEEDS[-batch:]
        noise = engine({"seed": seeds[:, None]})
        np.testing.assert_array_max_ulp(noise, normal(seeds, stream, shape), cases.PHILOX_ULP)


LOAD = """
import sys
import tensorrt
engine = tensorrt.Runtime(tensorrt.Logger()).deserialize_cuda_engine(open(sys.argv[1], "rb").read())
assert engine is not None and engine.create_execution_context() is not None
assert not any(name.startswith(("ddgan_deploy", "triton", "tensorrt.plugin")) for name in sys.modules)
"""


def test_an_engine_needs_no_python(trt: Any, arch: int, tmp_path: Path) -> None:
    inputs, output = adagn_tensors(SPLIT[0], "float16")
    (tmp_path / "engine.plan").write_bytes(serialized(trt, arch, adagn_pair(SPLIT[0]), inputs, output, ()))
    done = subprocess.run([sys.executable, "-c", LOAD, tmp_path / "engine.plan"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
