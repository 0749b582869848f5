"""Generator -> two small ONNX graphs: one denoising step, and the conditioning of all steps.

A step is traced once and copied T times by `unroll`: tracing costs seconds a step,
copying milliseconds, and the weights are shared from the start.
"""

from __future__ import annotations

import ast
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from onnx_ir.passes.common import (
    LiftConstantsToInitializersPass,
    RemoveUnusedNodesPass,
)
from onnxscript.optimizer import fold_constants_ir
from onnxscript.values import Op, Opset
from torch import nn

from ddgan_deploy.export.graph.rewrites.shared_constants import share_constants
from ddgan_deploy.export.graph.rewrites.static_reshape import make_reshapes_static
from ddgan_deploy.export.graph.rewrites.zero_bias import drop_zero_biases
from ddgan_deploy.families.ddgan.blocks import Conditioning, Style
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.kernels import op as ops
from ddgan_deploy.kernels.adagn.spec import SPEC as ADAGN

_SCOPES = "pkg.torch.onnx.name_scopes"
LAYER = "ddgan_layer"
"""Key of a node's metadata: the module it belongs to, the same at every step."""
_NO_LIMIT = 2**31
_adagn_op = Op(Opset(ops.DOMAIN, ops.VERSION), ADAGN.name, ADAGN.schema())


@dataclass(frozen=True)
class Traced:
    """A generator as two ONNX graphs.

    Attributes:
        step: inputs ``x`` [batch, C, H, W], then `time_bias_names`, then for each AdaGN
            ``scale_<i>`` and ``shift_<i>`` [batch, C]; output x_0 before the last activation.
        latent: input ``z`` [batch, T, nz]; output the scales and shifts of one step side
            by side, [batch, T, width].
        style_widths: width of each piece of that output, in the order scale_0, shift_0, scale_1, ...
        time_biases: number of time biases the step takes.
    """

    step: ir.Model
    latent: ir.Model
    style_widths: tuple[int, ...]
    time_biases: int


class _Step(nn.Module):
    """`Generator.denoise` with its conditioning as flat lists."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(
        self,
        x: torch.Tensor,
        time_bias: list[torch.Tensor],
        scale: list[torch.Tensor],
        shift: list[torch.Tensor],
    ) -> torch.Tensor:
        styles = [Style(*pair) for pair in zip(scale, shift, strict=True)]
        return self.generator.denoise(x, Conditioning(time_bias, styles))


class _Latent(nn.Module):
    """The mapping network, and all style layers as one product."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.z_transform = generator.z_transform
        layers = generator.style_layers
        self.style = nn.Linear(generator.config.z_emb_dim, sum(layer.out_features for layer in layers), device="meta")
        self.style.weight = nn.Parameter(torch.cat([layer.weight for layer in layers]))
        self.style.bias = nn.Parameter(torch.cat([layer.bias for layer in layers]))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.style(self.z_transform(z))
        return y


def trace(generator: Generator) -> Traced:
    """Traces a generator in evaluation mode."""
    config = generator.config
    # A batch of 2, since torch.export takes a size of 0 or 1 for a constant.
    z = torch.zeros(2, config.nz)
    with torch.no_grad():
        biases = [bias[:1] for bias in generator.time_biases(torch.zeros(1, dtype=torch.int64))]
        styles = generator.styles(z)
    batch, steps = torch.export.Dim("batch"), torch.export.Dim("steps")
    step = _export(
        _Step(generator),
        (torch.zeros(2, *config.image_shape), biases, *map(list, zip(*styles, strict=True))),
        ({0: batch}, [{} for _ in biases], [{0: batch} for _ in styles], [{0: batch} for _ in styles]),
    )
    latent = _export(_Latent(generator), (torch.zeros(2, 3, config.nz),), ({0: batch, 1: steps},))
    widths = tuple(layer.out_features // 2 for layer in generator.style_layers for _ in range(2))
    return Traced(step, latent, widths, len(biases))


def _adagn(x: Any, scale: Any, shift: Any, groups: int, epsilon: float, activation: str) -> Any:
    return _adagn_op(
        x, scale, shift, groups=groups, epsilon=epsilon, activation=activation, plugin_namespace=ops.DOMAIN
    )


def _export(module: nn.Module, inputs: tuple[Any, ...], dynamic: tuple[Any, ...]) -> ir.Model:
    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            inputs,
            dynamo=True,
            opset_version=ops.OPSET,
            dynamic_shapes=dynamic,
            custom_translation_table={torch.ops.ddgan.adagn.default: _adagn},
            optimize=False,
            verbose=False,
        )
    assert program is not None
    model = program.model
    fold_constants_ir(model, input_size_limit=_NO_LIMIT, output_size_limit=_NO_LIMIT)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    make_reshapes_static(model.graph)
    drop_zero_biases(model.graph)
    share_constants(model.graph)
    RemoveUnusedNodesPass()(model)
    _name(model.graph)
    return model


def _name(graph: ir.Graph) -> None:
    """Names nodes after their module, as ``all_modules.3.Conv_0``, and the op where a module has several."""
    layers = {node: _module_path(node) or node.op_type for node in graph}
    sizes = Counter(layers.values())
    taken: Counter[str] = Counter()
    for node, layer in layers.items():
        name = layer if sizes[layer] == 1 else f"{layer}/{node.op_type}"
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
        node.metadata_props[LAYER] = layer
        if node.op_type == ADAGN.name:
            node.overload = node.attributes[ADAGN.variant].as_string()
    for value in list(graph.initializers.values()):
        if "." not in (value.name or ""):
            consumer, position = next(iter(value.uses()))
            value.name = f"{consumer.name}.{position}"


def _module_path(node: ir.Node) -> str:
    """Path of the module that made a node; "" for the network's own forward."""
    scopes = [scope for scope in ast.literal_eval(node.metadata_props.get(_SCOPES, "[]")) if scope]
    return scopes[-2].removeprefix("generator.") if len(scopes) > 1 else ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's notes about itself off the user's screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
