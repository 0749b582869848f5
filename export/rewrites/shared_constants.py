"""Equal constants once.

    Add(x, c_1), Mul(y, c_2) with c_1 = c_2  ->  Add(x, c_1), Mul(y, c_1)

Parameters stay apart even where they are equal, as the biases of two convolutions that are
summed are after any training: otherwise the graph would depend on the weights.
"""

from __future__ import annotations

import onnx_ir as ir

from ddgan_deploy.export.rewrites.parameters import is_parameter


def share_constants(graph: ir.Graph) -> int:
    """Rewrites every match in place.

    1. Both are initializers and neither is a parameter.
    2. Type, shape and content are equal.

    Returns:
        Number of constants that went.
    """
    kept: dict[tuple[ir.DataType, tuple[int, ...], bytes], ir.Value] = {}
    count = 0
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or is_parameter(value):
            continue
        same = kept.setdefault((tensor.dtype, tuple(tensor.shape.numpy()), tensor.tobytes()), value)
        if same is not value:
            ir.convenience.replace_all_uses_with(value, same)
            del graph.initializers[name]
            count += 1
    return count
