"""Convolutions of packed images: models of their ops, and what they should give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from ddgan_deploy.kernels.op import DOMAIN, IR_VERSION, OPSET, VERSION
from ddgan_deploy.kernels.packed_conv.layout import bfloat16_bits, packed_weight

SCALE = 0.5**0.5
STEP, ZERO = 0.03, 120
SLACK = 15
"""Positions after the last, which products may read."""


@dataclass(frozen=True)
class Case:
    """Inputs of one convolution, float32; of integers the weights are int8, with a factor an output."""

    x: npt.NDArray[np.float32]
    weight: npt.NDArray[np.generic]
    bias: npt.NDArray[np.float32]
    residual: npt.NDArray[np.float32] | None
    factor: npt.NDArray[np.float32]

    @classmethod
    def of(cls, kind: str, shape: tuple[int, ...], kernel: int, residual: bool = True) -> Case:
        """Random ones.

        Args:
            kind: "uint8" or "bfloat16".
            shape: batch, channels, outputs, height, width.
            kernel: 1 or 3.
            residual: whether there is one.
        """
        batch, channels, outputs, *image = shape
        random = np.random.default_rng(sum(shape))
        weight = random.normal(size=(outputs, channels, kernel, kernel)) / (kernel * channels**0.5)
        if kind == "uint8":
            weight = random.integers(-127, 128, weight.shape)
        return cls(
            random.normal(size=(batch, channels, *image)).astype(np.float32),
            weight.astype(np.int8 if kind == "uint8" else np.float32),
            random.normal(size=outputs).astype(np.float32),
            random.normal(size=(batch, outputs, *image)).astype(np.float32) if residual else None,
            (random.random(outputs) * 1e-3).astype(np.float32),
        )


def node(op_type: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
    """One of the library's."""
    return helper.make_node(op_type, inputs, [output], domain=DOMAIN, **attributes)


def model(nodes, inputs, constants, output="y", dtype=TensorProto.FLOAT) -> onnx.ModelProto:
    """A model of float32 inputs, by their ranks."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank) for name, rank in inputs.items()]
    results = [helper.make_tensor_value_info(output, dtype, None)]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "packed", values, results, tensors)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def pack_attributes(kind: str, step: float = STEP, zero: int = ZERO) -> dict[str, object]:
    return {"type": kind, "step": step, "zero": zero} if kind == "uint8" else {"type": kind}


def packed(native, kind, x, op_type="Pack", threads=2, extra=None, **attributes):
    """What Pack or one of its kin gives."""
    fed = {"x": x, **(extra or {})}
    pack = node(op_type, list(fed), "y", **{**pack_attributes(kind), **attributes})
    graph = model([pack], {name: value.ndim for name, value in fed.items()}, {}, dtype=TensorProto.UINT8)
    return native.session(graph, threads).run(None, fed)[0]


def unpacked(rows, kind, channels, height, width):
    """The values of a packed image's pixels [N, C, H, W], uint8 or float32, and all that lies around them."""
    size = 1 if kind == "uint8" else 2
    values = rows if kind == "uint8" else (rows.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    assert rows.shape[1:] == ((height + 2) * (width + 1) + 1 + SLACK, -(-channels * size // 64) * 64)
    y, x = np.mgrid[:height, :width]
    places = (y + 1) * (width + 1) + x + 1
    border = np.delete(values, places.ravel(), axis=1)
    return values[:, places][..., :channels].transpose(0, 3, 1, 2), border


def convolved(native, kind, case, threads=2, scale=SCALE, **attributes):
    """y of a convolution after Pack."""
    kernel = case.weight.shape[2]
    height, width = case.x.shape[2:]
    weight = case.weight if kind == "uint8" else bfloat16_bits(case.weight)
    constants, inputs = {"w": packed_weight(weight), "b": case.bias}, ["p", "w", "b"]
    if kind == "uint8":
        sums = case.weight.astype(np.int64).sum(axis=(1, 2, 3))
        constants |= {"f": case.factor * np.float32(STEP), "o": (ZERO * sums).astype(np.int32)}
        inputs += ["f", "o"]
    fed = {"x": case.x} if case.residual is None else {"x": case.x, "r": case.residual}
    shape = {"kernel": kernel, "height": height, "width": width, "scale": scale}
    nodes = [
        node("Pack", ["x"], "p", **pack_attributes(kind)),
        node(f"{kind.capitalize()}Conv", [*inputs, *list(fed)[1:]], "y", **{**shape, **attributes}),
    ]
    return native.session(model(nodes, dict.fromkeys(fed, 4), constants), threads).run(None, fed)[0]


def exact(kind, case, x, scale=SCALE, dtype=torch.float64):
    """The convolution of what was packed, in float64: of integers without any rounding but the last ones."""
    weight = case.weight.astype(np.float64)
    if kind == "uint8":
        x = x.astype(np.float64) - ZERO
    else:
        weight = (bfloat16_bits(case.weight).astype(np.uint32) << 16).view(np.float32)
    padding = weight.shape[2] // 2
    y = torch.nn.functional.conv2d(torch.from_numpy(x).to(dtype), torch.from_numpy(weight).to(dtype), padding=padding)
    y = y.numpy()
    if kind == "uint8":
        y = y * (case.factor * np.float32(STEP)).astype(np.float64)[:, None, None]
    y = y + case.bias[:, None, None]
    return (y if case.residual is None else y + case.residual) * scale
