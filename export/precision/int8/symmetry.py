"""Whether an int8 graph is one that TensorRT takes."""

from __future__ import annotations

from pathlib import Path

import onnx

from ddgan_deploy.errors import InputError


def is_symmetric(path: Path) -> bool:
    """Whether every zero point of an ONNX file is zero, which their type tells: int8, not uint8."""
    graph = onnx.load(path, load_external_data=False).graph
    zeros = {node.input[2] for node in graph.node if node.op_type == "QuantizeLinear"}
    return all(tensor.data_type == onnx.TensorProto.INT8 for tensor in graph.initializer if tensor.name in zeros)


def check_symmetric(path: Path) -> None:
    """Refuses a graph that TensorRT does not take.

    Raises:
        InputError: its zero points are not zero.
    """
    if not is_symmetric(path):
        raise InputError(
            f"{path} is int8 for CPUs, with zero points that TensorRT does not take: "
            "export anew with --int8 --engine tensorrt or tensorrt-rtx"
        )
