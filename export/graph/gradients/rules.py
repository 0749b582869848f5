"""Which rule an op has."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from ddgan_deploy.export.graph.gradients import elementwise, fused, products, reductions, shapes
from ddgan_deploy.export.graph.gradients.backward import Rule
from ddgan_deploy.kernels import op as ops

RULES: Mapping[str, Rule] = {
    "Add": elementwise.add,
    "AveragePool": reductions.average_pool,
    "Cast": elementwise.cast,
    "Concat": shapes.concat,
    "Conv": products.conv,
    "Div": elementwise.div,
    "Exp": elementwise.exp,
    "Expand": shapes.expand,
    "Flatten": shapes.reshape,
    "Gather": shapes.gather,
    "Gemm": products.gemm,
    "GlobalAveragePool": reductions.global_average_pool,
    "Identity": elementwise.identity,
    "LogSoftmax": reductions.log_softmax,
    "MatMul": products.matmul,
    "Mul": elementwise.mul,
    "Neg": elementwise.neg,
    "Pow": elementwise.power,
    "ReduceMean": reductions.reduce_mean,
    "ReduceSum": reductions.reduce_sum,
    "Relu": elementwise.relu,
    "Reshape": shapes.reshape,
    "Sigmoid": elementwise.sigmoid,
    "Slice": shapes.slice_,
    "Softmax": reductions.softmax,
    "Split": shapes.split,
    "Sqrt": elementwise.sqrt,
    "Squeeze": shapes.reshape,
    "Sub": elementwise.sub,
    "Tanh": elementwise.tanh,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.reshape,
}
"""Of ONNX's own ops."""


def rule_of(node: ir.Node) -> Rule | None:
    """The rule of a node's op; None: it has none."""
    if node.domain == ops.DOMAIN:
        return fused.by_first_input if fused.has_gradient(node.op_type) else None
    return RULES.get(node.op_type) if node.domain == "" else None
