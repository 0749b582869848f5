"""The fused ops: the gradient of one is another of its name and "Grad"."""

from __future__ import annotations

import onnx_ir as ir

from ddgan_deploy.export.graph.gradients.backward import Backward
from ddgan_deploy.kernels.ops import specs


def has_gradient(op_type: str) -> bool:
    """Whether there is an op for the gradient of a fused op."""
    return _name(op_type) in specs()


def by_first_input(at: Backward, position: int) -> ir.Value:
    """y = Op(x, ..):  dx = OpGrad(dy, x, ..), with the same attributes."""
    at.only(0, position=position)
    spec = specs()[_name(at.node.op_type)]
    inputs = [at.x(i) for i in range(len(at.node.inputs))]
    return at.fused(spec, [at.dy, *inputs], **{name: at.node.attributes[name].value for name in spec.attributes})


def _name(op_type: str) -> str:
    return f"{op_type}Grad"
