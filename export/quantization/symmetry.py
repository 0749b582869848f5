"""Whether an int8 graph is one that TensorRT takes."""

from __future__ import annotations

from pathlib import Path

import onnx


def is_symmetric(path: Path) -> bool:
    """Whether every zero point of an ONNX file is zero, which their type tells: int8, not uint8."""
    graph = onnx.load(path, load_external_data=False).graph
    zeros = {node.input[2] for node in graph.node if node.op_type == "QuantizeLinear"}
    return all(tensor.data_type == onnx.TensorProto.INT8 for tensor in graph.initializer if tensor.name in zeros)
