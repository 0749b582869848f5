"""A convolution without bias.

    Conv(x, w, 0)  ->  Conv(x, w)

The exporter writes out a zero bias for convolutions that have none, as the filters of resampling.
"""

from __future__ import annotations

import onnx_ir as ir

from ddgan_deploy.export.graph.rewrites.filters import is_filter


def drop_zero_biases(graph: ir.Graph) -> int:
    """Rewrites every match in place.

    1. The node is a filter. Other convolutions have biases of their own: one that happens to be zero stays,
       so that the graph's form follows from the architecture alone.
    2. The bias is zero everywhere.

    Returns:
        Number of convolutions rewritten.
    """
    count = 0
    for node in graph:
        if not is_filter(node) or len(node.inputs) < 3:
            continue
        bias = node.inputs[2]
        if bias is None or bias.const_value is None or bias.const_value.numpy().any():
            continue
        node.resize_inputs(2)
        count += 1
    return count
