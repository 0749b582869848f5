"""Which convolutions filter each channel alone, as resampling does, and have no weights of their own."""

from __future__ import annotations

import onnx_ir as ir


def is_filter(node: ir.Node) -> bool:
    """Whether a node is a convolution, plain or transposed, of one constant kernel a channel."""
    if node.op_type not in ("Conv", "ConvTranspose"):
        return False
    kernel = node.inputs[1].const_value if node.inputs[1] is not None else None
    groups = node.attributes["group"].as_int() if "group" in node.attributes else 1
    return kernel is not None and tuple(kernel.shape.numpy()[:2]) == (groups, 1)
