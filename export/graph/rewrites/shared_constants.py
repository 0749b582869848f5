"""Equal constants once.

    Reshape(x, s_1), Reshape(y, s_2) with s_1 = s_2  ->  Reshape(x, s_1), Reshape(y, s_1)

Trained values stay apart even where they are equal, as the biases of two convolutions that are summed are
after any training: so the graph's form follows from the architecture alone.
"""

from __future__ import annotations

import onnx_ir as ir


def share_constants(graph: ir.Graph) -> int:
    """Rewrites every match in place.

    1. Both are initializers of integers, or scalars; others hold trained values, or what was computed from them.
    2. Type, shape and content are equal.

    Returns:
        Number of constants that went.
    """
    kept: dict[tuple[ir.DataType, tuple[int, ...], bytes], ir.Value] = {}
    count = 0
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or (tensor.dtype.is_floating_point() and len(tensor.shape) > 0):
            continue
        same = kept.setdefault((tensor.dtype, tuple(tensor.shape.numpy()), tensor.tobytes()), value)
        if same is not value:
            ir.convenience.replace_all_uses_with(value, same)
            del graph.initializers[name]
            count += 1
    return count
