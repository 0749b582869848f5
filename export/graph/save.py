"""Finished models -> ONNX files: function bodies, metadata, one shared weights file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.external_data import convert_tensors_to_external
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ddgan_deploy.errors import GateError
from ddgan_deploy.export.graph.loop import LOOP
from ddgan_deploy.kernels import op as ops
from ddgan_deploy.kernels import ops as registry
from ddgan_deploy.names import in_utf8

WEIGHTS_FILE = "weights.bin"
INLINE_BYTES = 256
"""Tensors up to this size stay in the graph file."""
_CONV_DEFAULTS = {
    "auto_pad": "NOTSET",
    "group": 1,
    "dilations": (1, 1),
    "strides": (1, 1),
    "pads": (0, 0, 0, 0),
}


def save(models: Mapping[str, ir.Model], folder: Path, metadata: Mapping[str, str]) -> None:
    """Writes models as ONNX files that share one weights file.

    Args:
        models: file name -> model; consumed: their weights move to the file.
        folder: an existing folder.
        metadata: goes into every model.

    Raises:
        GateError: a file does not pass the ONNX checker.
    """
    for model in models.values():
        RemoveUnusedNodesPass()(model)
        _drop_unused_weights(model.graph)
    _share_weights(models.values(), folder)
    for name, model in models.items():
        attach_functions(model)
        _trim(model.graph)
        _shorten_value_names(model.graph)
        model.metadata_props.update(metadata)
        model.producer_name, model.producer_version = "ddgan-deploy", metadata["ddgan_deploy_version"]
        ir.save(model, folder / name)
        check_file(folder / name)


def _drop_unused_weights(graph: ir.Graph) -> None:
    """In the bodies of Loops: onnx-ir's pass removes those of the graph itself alone."""
    for body in graph.subgraphs():
        for name, value in list(body.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                del body.initializers[name]


def _share_weights(models: Iterable[ir.Model], folder: Path) -> None:
    """Moves the tensors of all models to one file, each stored once."""
    values: dict[int, list[ir.Value]] = {}
    for model in models:
        for value in _initializers(model.graph):
            tensor = value.const_value
            # Larger integers are sizes, which shape inference reads from the graph file alone.
            if tensor is None or tensor.nbytes <= INLINE_BYTES:
                continue
            if tensor.dtype.is_floating_point() or tensor.dtype == ir.DataType.INT8:
                values.setdefault(id(tensor), []).append(value)
    tensors = [group[0].const_value for group in values.values()]
    external = convert_tensors_to_external([t for t in tensors if t is not None], folder, WEIGHTS_FILE)
    for group, tensor in zip(values.values(), external, strict=True):
        for value in group:
            value.const_value = tensor


def attach_functions(model: ir.Model) -> None:
    """Adds to a model the definition of every fused op that its graph uses."""
    specs = registry.specs()
    for name in sorted({node.op_type for node in model.graph.all_nodes() if node.domain == ops.DOMAIN}):
        function = ir.serde.deserialize_function(specs[name].function())
        model.functions[function.identifier()] = function


def _trim(graph: ir.Graph) -> None:
    """Leaves out what every reader infers: shapes inside the graph and default attributes."""
    boundary = _boundary(graph)
    for value in _initializers(graph):
        value.shape = value.type = None
    for node in graph.all_nodes():
        node.metadata_props.clear()
        if node.op_type in ("Conv", "ConvTranspose"):
            # The weights tell the kernel's shape.
            node.attributes.pop("kernel_shape", None)
            for name, default in _CONV_DEFAULTS.items():
                if name in node.attributes and node.attributes[name].value == default:
                    node.attributes.pop(name)
        for output in node.outputs:
            # What a Loop makes nobody infers.
            if output not in boundary and node.op_type != LOOP:
                output.shape = output.type = None


def _shorten_value_names(graph: ir.Graph) -> None:
    """Numbers the values inside the graph: nodes have speaking names, and each value would repeat one thrice."""
    boundary = {*graph.inputs, *graph.outputs}
    inner = (output for node in graph.all_nodes() for output in node.outputs if output not in boundary)
    for number, value in enumerate(inner):
        value.name = f"v{number}"


def _boundary(graph: ir.Graph) -> set[ir.Value]:
    """Inputs and outputs of the graph, and of the bodies of its Loops."""
    return {value for each in (graph, *graph.subgraphs()) for value in (*each.inputs, *each.outputs)}


def _initializers(graph: ir.Graph) -> list[ir.Value]:
    """Of the graph, and of the bodies of its Loops."""
    return [value for each in (graph, *graph.subgraphs()) for value in each.initializers.values()]


def check_file(path: Path) -> None:
    """The ONNX checker, with shape inference.

    Raises:
        GateError: the file is not valid; says why on one line.
    """
    try:
        with in_utf8(path.parent) as folder:
            onnx.checker.check_model(os.fspath(folder / path.name), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise GateError(f"{path.name} is not valid ONNX: {' '.join(str(error).split())}") from None
