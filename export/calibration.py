"""The largest magnitude that every value of a graph takes on real noise."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx_ir as ir

from ddgan_deploy.engines.base import feeds
from ddgan_deploy.engines.onnxruntime import new_session
from ddgan_deploy.export.graph import attach_functions
from ddgan_deploy.noise import Noise

_INLINE_BYTES = 1 << 17
"""Sizes must stay in the graph file, since shape inference reads them; weights need not."""


def activation_ranges(model: ir.Model, noise: Noise, scratch: Path) -> dict[str, float]:
    """Runs a float32 sampler once.

    Args:
        model: the sampler, left as it is.
        noise: to run it on.
        scratch: a folder on a disk with room for the weights; left as it is.

    Returns:
        Value name -> largest absolute value, for every float value between the nodes.
    """
    graph = model.graph.clone()
    values = [
        output
        for node in graph
        for output in node.outputs
        if output.dtype is not None and output.dtype.is_floating_point()
    ]
    # Reduced inside the graph: the values themselves would need gigabytes for large images.
    reductions = [_reduced(graph, value) for value in values]
    graph.outputs[:] = reductions
    measured = ir.Model(graph, ir_version=model.ir_version)
    attach_functions(measured)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "ranges.onnx"
        ir.save(measured, path, external_data="ranges.bin", size_threshold_bytes=_INLINE_BYTES)
        results = new_session(path).run(None, feeds(noise))
    return {value.name or "": float(result) for value, result in zip(values, results, strict=True)}


def _reduced(graph: ir.Graph, value: ir.Value) -> ir.Value:
    magnitude = ir.node("Abs", [value], name=f"{value.name}/Abs")
    largest = ir.node("ReduceMax", [magnitude.outputs[0]], {"keepdims": 0}, name=f"{value.name}/Max")
    for node in (magnitude, largest):
        node.outputs[0].name = node.name
        node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        graph.append(node)
    largest.outputs[0].shape = ir.Shape(())
    return largest.outputs[0]
