"""StyleLrelu as a TensorRT plugin."""

from __future__ import annotations

import tensorrt.plugin as trtp

from .. import trt_launch
from ..trt_launch import Node
from .launches import LAUNCHES, sizes
from .spec import SPEC

_INPUTS = tuple(name for name, _ in SPEC.inputs)


def _combinations(node: Node) -> list[trtp.AutoTuneCombination]:
    _, channels, _, _ = trt_launch.extents(node.x)
    return [
        trt_launch.combination(LAUNCHES, (*_INPUTS, "y"), ("x", "y"), layout, dtype)
        for layout, dtype in trt_launch.choices(channels)
    ]


def _kernel(node: Node) -> trt_launch.Kernel:
    _, _, height, width = node.noise.shape
    noise = (node.noise.shape_expr[0], 1, height, width)
    measured = sizes(trt_launch.extents(node.x), noise, node.alpha)
    plan = trt_launch.choose(LAUNCHES, trt_launch.layout_of(node.x), measured)
    return trt_launch.tensorrt_kernel(LAUNCHES, plan, plan.launches[0], measured, trt_launch.dtype_of(node.x))


trt_launch.define(SPEC.name, _INPUTS, SPEC.attributes, lambda node: node.x.like(), _combinations, _kernel)
