"""PhiloxNormal as a TensorRT plugin.

TensorRT allows no attribute of the name ``stream``: on a node for the plugin it is ``stream_number``.
"""

from __future__ import annotations

import tensorrt as trt
import tensorrt.plugin as trtp

from .. import trt_launch
from ..launch import LINEAR
from ..trt_launch import Node
from .launches import LAUNCHES, sizes
from .spec import SPEC

_DTYPE = "float32"
_ATTRIBUTES = {"stream_number" if name == "stream" else name: kind for name, kind in SPEC.attributes.items()}


def _describe(node: Node) -> trtp.TensorDesc:
    return trtp.from_shape_expr((node.seed.shape_expr[0], *node.shape.tolist()), dtype=trt.float32)


def _combinations(node: Node) -> list[trtp.AutoTuneCombination]:
    return [trt_launch.combination(LAUNCHES, ("seed", "noise"), (), LINEAR, _DTYPE)]


def _kernel(node: Node) -> trt_launch.Kernel:
    measured = sizes(node.seed.shape_expr[0], node.stream_number, node.shape.tolist())
    plan = trt_launch.choose(LAUNCHES, LINEAR, measured)
    return trt_launch.tensorrt_kernel(LAUNCHES, plan, plan.launches[0], measured, _DTYPE)


trt_launch.define(SPEC.name, ("seed",), _ATTRIBUTES, _describe, _combinations, _kernel)
