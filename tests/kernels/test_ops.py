"""The registry of ops, and what an op states of itself beside its mathematics."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ddgan_deploy.kernels import op as forms
from ddgan_deploy.kernels import ops
from ddgan_deploy.kernels.op import Tensor

OLDER = {"PosteriorSample"}
"""Ops of files of before, which are converted and have kernels for CPUs, and no statement of their own."""


def test_every_op_has_a_room_that_states_it():
    assert set(ops.specs()) == set(ops.ROOMS) - OLDER
    for name, spec in ops.specs().items():
        assert spec.name == name
        assert spec.schema().name == name


def test_launches_and_converters_are_of_known_ops():
    launched = [launches.op for launches in ops.all_launches()]
    assert len(launched) == len(set(launched))
    # Their kernels are those of AdaGN and AdaGNGrad.
    assert set(launched) == set(ops.ROOMS) - OLDER - {"AdaGNSilu", "AdaGNSiluGrad"}
    philox = {name for name in ops.ROOMS if name.startswith("Philox")}
    assert set(ops.openvino_converters()) == set(ops.ROOMS) - philox


def test_an_op_is_one_function():
    for spec in ops.specs().values():
        function = spec.function()
        assert function.overload == ""
        assert not [a.name for node in function.node for a in node.attribute if a.name.startswith("value_float")]
        assert [(opset.domain, opset.version) for opset in function.opset_import] == [("", forms.OPSET)]


@pytest.mark.parametrize(
    ("name", "float32"),
    [
        ("AdaGNSilu", set()),
        ("AdaGNGrad", set()),
        ("ReverseStep", {"x", "noise", "coefficients", "x_prev"}),
        ("ReverseMean", {"x", "coefficients", "x_prev"}),
        ("StyleLrelu", {"scale", "noise", "bias", "limit"}),
        ("PhiloxNormalAt", {"noise"}),
        ("PhiloxInteger", set()),
    ],
)
def test_what_is_float32_whatever_the_precision(name, float32):
    assert ops.specs()[name].float32 == float32


@pytest.mark.parametrize(
    ("name", "inputs", "attributes", "output", "flops"),
    [
        ("AdaGN", [Tensor((2, 8, 4, 4), 2), *[Tensor((1, 8), 2)] * 2], {}, Tensor((2, 8, 4, 4), 2), 6),
        ("AdaGNSilu", [Tensor((2, 8, 4, 4), 2), *[Tensor((1, 8), 2)] * 2], {}, Tensor((2, 8, 4, 4), 2), 10),
        ("AdaGNGrad", [*[Tensor((2, 8, 4, 4), 2)] * 2, *[Tensor((1, 8), 4)] * 2], {}, Tensor((2, 8, 4, 4), 2), 13),
        ("AdaGNSiluGrad", [*[Tensor((2, 8, 4, 4), 2)] * 2, *[Tensor((2, 8), 2)] * 2], {}, Tensor((2, 8, 4, 4), 2), 23),
        (
            "ReverseStep",
            [Tensor((2, 3, 4, 4), 2), *[Tensor((2, 3, 4, 4), 4)] * 2, Tensor((7,), 4)],
            {},
            Tensor((2, 3, 4, 4), 4),
            10,
        ),
        (
            "StyleLrelu",
            [Tensor((2, 8, 4, 4), 2), Tensor((2, 8), 4), Tensor((1, 1, 4, 4), 4), Tensor((8,), 4), Tensor((1,), 4)],
            {"alpha": 0.2},
            Tensor((2, 8, 4, 4), 2),
            7,
        ),
        ("PhiloxNormal", [Tensor((2, 1), 8)], {"stream": 1, "shape": [3, 4]}, Tensor((2, 3, 4), 4), 5),
    ],
)
def test_cost(name, inputs, attributes, output, flops):
    spec = ops.specs()[name]
    assert spec.output_shape([tensor.shape for tensor in inputs], attributes) == output.shape
    cost = spec.cost(inputs, output)
    values = output.bytes // output.item_bytes
    assert cost == (flops * values, sum(tensor.bytes for tensor in inputs) + output.bytes)


def test_the_registry_imports_no_runtime():
    code = "import sys; from ddgan_deploy.kernels import ops; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "onnx", "openvino", "tensorrt", "triton", "numpy"} & set(done.stdout.split())
