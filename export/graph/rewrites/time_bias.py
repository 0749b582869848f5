"""The time bias joins the bias of the convolution before it.

    Add(Conv(x, w, b), t)  ->  Conv(x, w, b + t),  t constant [1, C, 1, 1]

t, the step's time, is constant in an unrolled graph. The weights w stay shared
between the steps; each step has a bias of its own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.convenience import replace_all_uses_with


def fold_time_biases(graph: ir.Graph) -> int:
    """Rewrites every match in place.

    1. The addend is an initializer of shape [1, C, 1, 1].
    2. The other operand is a convolution with a bias, used nowhere else.

    Returns:
        Number of convolutions rewritten.
    """
    count = 0
    for node in list(graph):
        match = _match(node)
        if match is None:
            continue
        conv, bias, time_bias = match
        joint = ir.Value(
            name=f"{conv.name}.bias", type=ir.TensorType(bias.dtype), const_value=ir.tensor(bias.numpy() + time_bias)
        )
        graph.register_initializer(joint)
        conv.replace_input_with(2, joint)
        replace_all_uses_with(node.outputs[0], conv.outputs[0], replace_graph_outputs=True)
        graph.remove(node, safe=True)
        count += 1
    return count


def _match(node: ir.Node) -> tuple[ir.Node, ir.TensorProtocol, npt.NDArray[np.float32]] | None:
    """The convolution, its bias, and the time bias [C]."""
    if node.op_type != "Add":
        return None
    value, addend = node.inputs
    conv = value.producer() if value is not None else None
    if value is None or addend is None or conv is None or conv.op_type != "Conv" or len(value.uses()) != 1:
        return None
    bias = conv.inputs[2].const_value if len(conv.inputs) > 2 and conv.inputs[2] is not None else None
    if bias is None or addend.const_value is None:
        return None
    time_bias = addend.const_value.numpy()
    return (conv, bias, time_bias.reshape(-1)) if time_bias.shape == (1, bias.shape[0], 1, 1) else None
