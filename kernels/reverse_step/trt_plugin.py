"""ReverseStep and ReverseMean as TensorRT plugins."""

from __future__ import annotations

import tensorrt.plugin as trtp

from .. import trt_launch
from ..launch import LINEAR, NCHW, OpLaunches
from ..op import OpSpec
from ..trt_launch import Node
from . import launches
from .spec import MEAN, STEP


def _define(spec: OpSpec, op: OpLaunches) -> None:
    inputs = tuple(name for name, _ in spec.inputs)
    images = (*inputs[:-1], "x_prev")

    def combinations(node: Node) -> list[trtp.AutoTuneCombination]:
        _, channels, _, _ = trt_launch.extents(node.out)
        # Channels-last only where all images are float32: their formats differ by type.
        return [
            trt_launch.combination(op, (*inputs, "x_prev"), images, layout, dtype)
            for layout, dtype in trt_launch.choices(channels)
            if layout == NCHW or dtype == "float32"
        ]

    def kernel(node: Node) -> trt_launch.Kernel:
        measured = launches.sizes(trt_launch.extents(node.out))
        plan = trt_launch.choose(op, LINEAR, measured)
        return trt_launch.tensorrt_kernel(op, plan, plan.launches[0], measured, trt_launch.dtype_of(node.out))

    trt_launch.define(spec.name, inputs, spec.attributes, lambda node: node.x.like(), combinations, kernel)


_define(STEP, launches.STEP)
_define(MEAN, launches.MEAN)
