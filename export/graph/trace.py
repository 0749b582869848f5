"""A PyTorch module -> a small ONNX graph whose nodes are named after its modules.

A step is traced once and copied T times by `builder`: tracing costs seconds a step, copying milliseconds, and the
weights are shared from the start.
"""

from __future__ import annotations

import ast
from collections import Counter
from typing import Any

import onnx_ir as ir
import torch
from onnx_ir.passes.common import (
    LiftConstantsToInitializersPass,
    RemoveUnusedNodesPass,
)
from onnxscript.optimizer import fold_constants_ir
from onnxscript.rewriter import RewriteRuleSet
from onnxscript.rewriter.rules.common import materialize_reshape_shape_rule
from onnxscript.values import Op, Opset
from torch import nn

from ddgan_deploy.export.graph.quiet import quiet
from ddgan_deploy.export.graph.rewrites.shared_constants import share_constants
from ddgan_deploy.export.graph.rewrites.zero_bias import drop_zero_biases
from ddgan_deploy.kernels import op as ops
from ddgan_deploy.kernels.adagn.spec import BY_ACTIVATION
from ddgan_deploy.kernels.adagn_grad.spec import BY_ACTIVATION as GRAD_BY_ACTIVATION
from ddgan_deploy.kernels.style_lrelu.spec import SPEC as STYLE_LRELU

_SCOPES = "pkg.torch.onnx.name_scopes"
LAYER = "ddgan_layer"
"""Key of a node's metadata: the module it belongs to, the same at every step."""
_NO_LIMIT = 2**31
_opset = Opset(ops.DOMAIN, ops.VERSION)
_style_lrelu_op = Op(_opset, STYLE_LRELU.name, STYLE_LRELU.schema())
_adagn_ops = {activation: Op(_opset, spec.name, spec.schema()) for activation, spec in BY_ACTIVATION.items()}
_adagn_grad_ops = {activation: Op(_opset, spec.name, spec.schema()) for activation, spec in GRAD_BY_ACTIVATION.items()}


def _adagn(x: Any, scale: Any, shift: Any, groups: int, epsilon: float, activation: str) -> Any:
    return _adagn_ops[activation](x, scale, shift, groups=groups, epsilon=epsilon, plugin_namespace=ops.DOMAIN)


def _adagn_grad(dy: Any, x: Any, scale: Any, shift: Any, groups: int, epsilon: float, activation: str) -> Any:
    op = _adagn_grad_ops[activation]
    return op(dy, x, scale, shift, groups=groups, epsilon=epsilon, plugin_namespace=ops.DOMAIN)


def _style_lrelu(x: Any, scale: Any, noise: Any, bias: Any, limit: Any, alpha: float) -> Any:
    return _style_lrelu_op(x, scale, noise, bias, limit, alpha=alpha, plugin_namespace=ops.DOMAIN)


def trace(
    module: nn.Module, inputs: tuple[Any, ...], dynamic: tuple[Any, ...], within: str = "", otherwise: str = ""
) -> ir.Model:
    """Traces a module in evaluation mode.

    Args:
        module: after whose parts nodes and weights are named.
        inputs: examples; a batch of 2, since torch.export takes a size of 0 or 1 for a constant.
        dynamic: what is dynamic of them; see `torch.export.Dim`.
        within: what names begin with and are told without, such as "generator." of a module that wraps a generator.
        otherwise: before the names of nodes that no part of it made, such as folding makes, where another graph's are
            beside them.
    """
    with quiet("torch.onnx"):
        program = torch.onnx.export(
            module.eval(),
            inputs,
            dynamo=True,
            opset_version=ops.OPSET,
            dynamic_shapes=dynamic,
            custom_translation_table={
                torch.ops.ddgan.adagn.default: _adagn,
                torch.ops.ddgan.adagn_grad.default: _adagn_grad,
                torch.ops.ddgan.style_lrelu.default: _style_lrelu,
            },
            optimize=False,
            verbose=False,
        )
    assert program is not None
    model = program.model
    fold_constants_ir(model, input_size_limit=_NO_LIMIT, output_size_limit=_NO_LIMIT)
    lift = LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)
    lift(model)
    # The exporter computes a shape at run time as soon as one size is dynamic.
    RewriteRuleSet([materialize_reshape_shape_rule]).apply_to_model(model)
    lift(model)
    drop_zero_biases(model.graph)
    share_constants(model.graph)
    RemoveUnusedNodesPass()(model)
    _name(model.graph, within, otherwise)
    return model


def _name(graph: ir.Graph, within: str, otherwise: str) -> None:
    """Names nodes after their module, as ``all_modules.3.Conv_0``, and the op where a module has several."""
    layers = {node: _module_path(node).removeprefix(within) or otherwise + node.op_type for node in graph}
    sizes = Counter(layers.values())
    taken: Counter[str] = Counter()
    for node, layer in layers.items():
        name = layer if sizes[layer] == 1 else f"{layer}/{node.op_type}"
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
        node.metadata_props[LAYER] = layer
    for value in list(graph.initializers.values()):
        if "." in (value.name or ""):
            value.name = (value.name or "").removeprefix(within)
        else:
            consumer, position = next(iter(value.uses()))
            value.name = f"{consumer.name}.{position}"


def _module_path(node: ir.Node) -> str:
    """Path of the module that made a node; "" for the network's own forward."""
    scopes = [scope for scope in ast.literal_eval(node.metadata_props.get(_SCOPES, "[]")) if scope]
    return str(scopes[-2]) if len(scopes) > 1 else ""
