"""An artifact's graph -> the form of it that TensorRT's ONNX parser takes.

Files of before get the ops of today (`kernels.older`). Where a plugin shall run a fused op its node stays,
without a function; elsewhere its body goes into the graph. TensorRT launches one kernel a plugin, so an AdaGN
whose group no single program holds becomes two, and its gradient three:

    AdaGN(x, scale, shift)          ->  AdaGNApply(x, partials, scale, shift),  partials = AdaGNStats(x)
    AdaGNGrad(dy, x, scale, shift)  ->  AdaGNGradApply(dy, x, partials, sums, scale, shift),
                                        sums = AdaGNGradSums(dy, x, partials, scale, shift)

Both of one x have the same statistics, and share their node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import onnx.inliner
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass
from onnxscript.optimizer import fold_constants_ir
from onnxscript.rewriter import RewriteRuleSet
from onnxscript.rewriter.rules.common import materialize_reshape_shape_rule

from ddgan_deploy.artifact.subgraphs import with_bodies
from ddgan_deploy.engines.tensorrt.plan import Kernels
from ddgan_deploy.export.graph.quiet import quiet
from ddgan_deploy.export.graph.save import INLINE_BYTES, check_file
from ddgan_deploy.export.tensorrt.job import ParserModel
from ddgan_deploy.kernels import op as ops
from ddgan_deploy.kernels.adagn import launches as adagn
from ddgan_deploy.kernels.adagn_grad import launches as adagn_grad
from ddgan_deploy.kernels.launch import NCHW, NHWC
from ddgan_deploy.kernels.older import modernize
from ddgan_deploy.kernels.ops import ROOMS
from ddgan_deploy.sampler import Precision

_NOISE = tuple(name for name, room in ROOMS.items() if room == "philox_normal")
_SINGLE_LAUNCH = {"adagn": adagn.single_launch, "adagn_grad": adagn_grad.single_launch}
_FOLDED_ELEMENTS = INLINE_BYTES // 4
"""Constants up to this size are folded, sizes and the like. Larger ones may lie in the weights file, unread."""


def parser_model(path: Path, kernels: Kernels, precision: Precision) -> ParserModel:
    """Reads a graph of an artifact and prepares it.

    Args:
        path: its ONNX file.
        kernels: "fused": every fused op stays a node, for its plugin; "portable": their bodies instead,
            but for PhiloxNormal, whose unsigned integers TensorRT does not have.
        precision: of the graph. fp16 convolutions run channels-last on tensor cores, fp32 ones do not; an
            AdaGN, or its gradient, stays one node if one launch serves it in that layout.

    Raises:
        GateError: the file is not valid ONNX; names the node.
    """
    check_file(path)
    proto = onnx.load(path, load_external_data=False)
    modernize(proto)
    if kernels == "fused":
        model = ir.from_proto(onnx.shape_inference.infer_shapes(proto, data_prop=True))
        for graph in (model.graph, *model.graph.subgraphs()):
            _split_adagn(graph, NHWC if precision == "fp16" else NCHW)
        model.functions.clear()
    else:
        model = _inlined(proto)
    for node in model.graph.all_nodes():
        if node.op_type in _NOISE and "stream" in node.attributes:
            _rename_stream(node)
    plugins = Counter(node.op_type for node in model.graph.all_nodes() if node.domain == ops.DOMAIN)
    return ParserModel(ir.to_proto(model).SerializeToString(), plugins)


def _inlined(proto: onnx.ModelProto) -> ir.Model:
    """Bodies for calls, with their constants folded, so that of the shapes only the batch is left to compute."""
    kept = [(ops.DOMAIN, name) for name in _NOISE]
    inlined = onnx.inliner.inline_selected_functions(proto, kept, exclude=True)
    names = _name_after_calls(inlined.graph, proto.graph)
    model = ir.from_proto(onnx.shape_inference.infer_shapes(inlined, data_prop=True))
    model.functions.clear()
    with quiet("onnxscript"):
        fold_constants_ir(
            model, onnx_shape_inference=True, input_size_limit=_FOLDED_ELEMENTS, output_size_limit=_FOLDED_ELEMENTS
        )
    RewriteRuleSet([materialize_reshape_shape_rule]).apply_to_model(model)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    for node in model.graph.all_nodes():
        # Both make new nodes for some, most of which keep the outputs.
        node.name = names.get(node.outputs[0].name or "", node.name)
    RemoveUnusedNodesPass()(model)
    return model


def _name_after_calls(inlined: onnx.GraphProto, calls: onnx.GraphProto) -> dict[str, str]:
    """Names each node of a body after its call, for TensorRT's messages and profiles.

    Returns:
        First output of a node -> its name.
    """
    names = {output: node.name for graph in with_bodies(calls) for node in graph.node for output in node.output}
    for graph in with_bodies(inlined):
        call = ""
        # A body lies where its call was, and its last node makes the call's output.
        for node in reversed(graph.node):
            if not node.name:
                call = names.get(node.output[0], call)
                node.name = f"{call}/{node.output[0].partition('__')[0]}"
    return {node.output[0]: node.name for graph in with_bodies(inlined) for node in graph.node}


def _rename_stream(node: ir.Node) -> None:
    """TensorRT has plugins with no attribute of that name."""
    stream = node.attributes.pop("stream").as_int()
    node.attributes.add(ir.AttrInt64("stream_number", stream))


def _split_adagn(graph: ir.Graph, layout: str) -> None:
    statistics: dict[tuple[ir.Value, int], ir.Value] = {}
    for node in list(graph):
        single_launch = _SINGLE_LAUNCH.get(ROOMS.get(node.op_type, ""))
        if single_launch is None:
            continue
        *dy, x, scale, shift = node.inputs
        assert x is not None and x.shape is not None
        _, channels, height, width = x.shape
        assert isinstance(channels, int) and isinstance(height, int) and isinstance(width, int)
        groups, pixels = node.attributes["groups"].as_int(), height * width
        if single_launch(layout, channels, pixels, groups):
            continue
        chunks = {"groups": groups, "chunk_pixels": adagn.chunk_pixels(pixels)}
        styled = {"epsilon": node.attributes["epsilon"].as_float(), **chunks}
        parts = []
        if (x, groups) not in statistics:
            parts.append(_part("AdaGNStats", [x], chunks, f"{node.name}/Stats"))
            statistics[x, groups] = _output(parts[-1], f"{node.name}/partials")
        given = [*dy, x, statistics[x, groups]]
        if dy:
            parts.append(_part(f"{node.op_type}Sums", [*given, scale, shift], styled, f"{node.name}/Sums"))
            given.append(_output(parts[-1], f"{node.name}/sums"))
        parts.append(_part(f"{node.op_type}Apply", [*given, scale, shift], styled, f"{node.name}/Apply"))
        ir.convenience.replace_nodes_and_values(graph, node, [node], parts, node.outputs, parts[-1].outputs)


def _part(op_type: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, int | float], name: str) -> ir.Node:
    return ir.node(op_type, inputs, {**attributes, "plugin_namespace": ops.DOMAIN}, domain=ops.DOMAIN, name=name)


def _output(node: ir.Node, name: str) -> ir.Value:
    (value,) = node.outputs
    value.name = name
    return value
