"""The Philox ops as TensorRT plugins.

TensorRT allows no attribute and no input of the name ``stream``: for the plugins it is ``stream_number``. A node's
inputs go by their order, so only attributes are named otherwise in the graph.
"""

from __future__ import annotations

import tensorrt as trt
import tensorrt.plugin as trtp

from .. import trt_launch
from ..launch import LINEAR, OpLaunches
from ..op import OpSpec
from ..trt_launch import Node
from . import launches
from .spec import INTEGER, NORMAL_AT, SPEC

_DTYPE = "float32"
_STREAM = "stream_number"


def _define(spec: OpSpec, op: OpLaunches) -> None:
    ((output, kind),) = spec.outputs
    inputs = [name for name, _ in spec.inputs]
    numbers = [name for name in ("stream", "below") if name in spec.attributes]

    def described(node: Node) -> trtp.TensorDesc:
        shape = (node.seed.shape_expr[0], *node.shape.tolist())
        return trtp.from_shape_expr(shape, dtype=trt.int64 if kind == "int64" else trt.float32)

    def combinations(node: Node) -> list[trtp.AutoTuneCombination]:
        return [trt_launch.combination(op, (*inputs, output), (), LINEAR, _DTYPE)]

    def kernel(node: Node) -> trt_launch.Kernel:
        given = {name: getattr(node, _named(name)) for name in numbers}
        measured = launches.sizes(node.seed.shape_expr[0], node.shape.tolist(), **given)
        plan = trt_launch.choose(op, LINEAR, measured)
        return trt_launch.tensorrt_kernel(op, plan, plan.launches[0], measured, _DTYPE)

    attributes = {_named(name): kind for name, kind in spec.attributes.items()}
    trt_launch.define(spec.name, [_named(name) for name in inputs], attributes, described, combinations, kernel)


def _named(name: str) -> str:
    return _STREAM if name == "stream" else name


_define(SPEC, launches.LAUNCHES)
_define(NORMAL_AT, launches.NORMAL_AT)
_define(INTEGER, launches.INTEGER)
