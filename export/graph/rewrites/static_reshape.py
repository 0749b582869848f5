"""Reshape by a constant where only the batch is dynamic.

    Reshape(x, Concat(Shape(x)[0], c, h, w))  ->  Reshape(x, [-1, c, h, w])

The exporter computes a shape at run time as soon as one size is dynamic.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def make_reshapes_static(graph: ir.Graph) -> int:
    """Rewrites every match in place.

    1. The shape input is computed.
    2. All sizes of the output but the first are known.

    Returns:
        Number of Reshape nodes rewritten.
    """
    count = 0
    for node in list(graph):
        if node.op_type != "Reshape" or node.inputs[1] is None or node.inputs[1].const_value is not None:
            continue
        shape = node.outputs[0].shape
        if shape is None or not all(isinstance(size, int) for size in shape[1:]):
            continue
        target = np.array([-1, *shape[1:]], np.int64)
        value = ir.Value(name=f"{node.outputs[0].name}_shape", const_value=ir.tensor(target))
        graph.register_initializer(value)
        node.replace_input_with(1, value)
        count += 1
    return count
