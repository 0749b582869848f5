"""A convolution without bias.

    Conv(x, w, 0)  ->  Conv(x, w)

The exporter writes out a zero bias for convolutions that have none, such as the FIR filters.
"""

from __future__ import annotations

import onnx_ir as ir


def drop_zero_biases(graph: ir.Graph) -> int:
    """Rewrites every match in place.

    1. The bias is a constant that is not a parameter, and is zero everywhere.

    Returns:
        Number of convolutions rewritten.
    """
    count = 0
    for node in graph:
        if node.op_type not in ("Conv", "ConvTranspose") or len(node.inputs) < 3:
            continue
        bias = node.inputs[2]
        # A parameter's name is a path; a bias that happens to be zero stays, so that
        # the graph's form follows from the architecture alone.
        if bias is None or bias.const_value is None or "." in (bias.name or "") or bias.const_value.numpy().any():
            continue
        node.resize_inputs(2)
        count += 1
    return count
