"""Runs one fused op by its ONNX function body on stock ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from ddgan_deploy.kernels import op as ops
from ddgan_deploy.kernels.op import OpSpec


def op_model(spec: OpSpec, inputs: Sequence[np.ndarray], **attributes: object) -> onnx.ModelProto:
    """A model of one node that carries its own definition."""
    variant = str(attributes.get(spec.variant, ""))
    names = [name for name, _ in spec.inputs]
    outputs = [name for name, _ in spec.outputs]
    node = helper.make_node(spec.name, names, outputs, domain=ops.DOMAIN, plugin_namespace=ops.DOMAIN, **attributes)
    node.overload = variant
    graph = helper.make_graph(
        [node],
        "op",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim)
            for name, value in zip(names, inputs, strict=True)
        ],
        [onnx.ValueInfoProto(name=name) for name in outputs],
    )
    return helper.make_model(
        graph,
        functions=[spec.function(variant)],
        opset_imports=[helper.make_opsetid("", ops.OPSET), helper.make_opsetid(ops.DOMAIN, ops.VERSION)],
        ir_version=10,
    )


def run_body(spec: OpSpec, inputs: Sequence[np.ndarray], **attributes: object) -> np.ndarray:
    """The op's output by its function body."""
    model = op_model(spec, inputs, **attributes)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {name: value for (name, _), value in zip(spec.inputs, inputs, strict=True)}
    return session.run(None, feeds)[0]
