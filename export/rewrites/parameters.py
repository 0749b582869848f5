"""Which constants of a graph are the network's parameters."""

from __future__ import annotations

import onnx_ir as ir


def is_parameter(value: ir.Value) -> bool:
    """Whether a constant holds trained values: its name is their path in the network.

    Rewrites must not look at these values, so that the graph's form follows from the architecture alone.
    """
    return "." in (value.name or "")
