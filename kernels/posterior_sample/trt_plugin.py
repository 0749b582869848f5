"""PosteriorSample as a TensorRT plugin."""

from __future__ import annotations

import tensorrt.plugin as trtp

from .. import trt_launch
from ..launch import LINEAR, NCHW
from ..trt_launch import Node
from .launches import LAUNCHES, sizes
from .spec import SPEC

_INPUTS = tuple(name for name, _ in SPEC.inputs)
_TENSORS = (*_INPUTS, "x_prev")


def _combinations(node: Node) -> list[trtp.AutoTuneCombination]:
    _, channels, _, _ = trt_launch.extents(node.x0_raw)
    # Channels-last only where all tensors are float32: their formats differ by type.
    return [
        trt_launch.combination(LAUNCHES, _TENSORS, _TENSORS, layout, dtype)
        for layout, dtype in trt_launch.choices(channels)
        if layout == NCHW or dtype == "float32"
    ]


def _kernel(node: Node) -> trt_launch.Kernel:
    measured = sizes(trt_launch.extents(node.x0_raw), node.coef_x0, node.coef_xt, node.sigma, node.squash)
    plan = trt_launch.choose(LAUNCHES, LINEAR, measured)
    return trt_launch.tensorrt_kernel(LAUNCHES, plan, plan.launches[0], measured, trt_launch.dtype_of(node.x0_raw))


trt_launch.define(SPEC.name, _INPUTS, SPEC.attributes, lambda node: node.x_t.like(), _combinations, _kernel)
