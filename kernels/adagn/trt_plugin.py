"""AdaGN and AdaGNSilu as TensorRT plugins: whole in one launch, or as partial statistics and what applies them.

TensorRT chooses the memory format of each on its own; the partial statistics are linear and
mean the same in every format.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import tensorrt as trt
import tensorrt.plugin as trtp

from .. import trt_launch
from ..trt_launch import Node
from . import launches
from .spec import BY_ACTIVATION

_FUSED = ("x", "scale", "shift")
_STATS = ("x",)
_APPLY = ("x", "partials", "scale", "shift")
_IMAGES = ("x", "y")


def _like_x(node: Node) -> trtp.TensorDesc:
    return node.x.like()


def _combinations(node: Node) -> list[trtp.AutoTuneCombination]:
    _, channels, height, width = trt_launch.extents(node.x)
    served = [
        trt_launch.combination(launches.LAUNCHES, (*_FUSED, "y"), _IMAGES, layout, dtype)
        for layout, dtype in trt_launch.choices(channels)
        if launches.single_launch(layout, channels, height * width, node.groups)
    ]
    if not served:
        raise ValueError(
            f"AdaGN: {channels} channels in {node.groups} groups of {height}x{width} pixels take two launches: "
            "make the node an AdaGNStats and an AdaGNApply"
        )
    return served


def _kernel(activation: str, node: Node) -> trt_launch.Kernel:
    sizes = _styled_sizes(activation, node)
    plan = trt_launch.choose(launches.SINGLE, trt_launch.layout_of(node.x), sizes)
    return trt_launch.tensorrt_kernel(launches.SINGLE, plan, plan.launches[0], sizes, trt_launch.dtype_of(node.x))


def _partials(node: Node) -> trtp.TensorDesc:
    batch, _, height, width = node.x.shape_expr
    shape = launches.partials_shape(batch, height * width, node.groups, node.chunk_pixels)
    return trtp.from_shape_expr(shape, dtype=trt.float32)


def _stats_combinations(node: Node) -> list[trtp.AutoTuneCombination]:
    return _split_combinations(node, (*_STATS, "partials"))


def _stats_kernel(node: Node) -> trt_launch.Kernel:
    return _split_kernel(0, node, launches.sizes(trt_launch.extents(node.x), 1, node.groups, 0.0, "none"))


def _apply_combinations(node: Node) -> list[trtp.AutoTuneCombination]:
    return _split_combinations(node, (*_APPLY, "y"))


def _apply_kernel(activation: str, node: Node) -> trt_launch.Kernel:
    return _split_kernel(1, node, _styled_sizes(activation, node))


def _styled_sizes(activation: str, node: Node) -> dict[str, Any]:
    # One row count for both; a dynamic one is -1.
    rows = node.scale.shape[0], node.shift.shape[0]
    if rows[0] != rows[1]:
        raise ValueError(f"AdaGN: scale has {rows[0]} rows and shift {rows[1]}, TensorRT needs as many")
    extents, style_rows = trt_launch.extents(node.x), node.scale.shape_expr[0]
    return launches.sizes(extents, style_rows, node.groups, node.epsilon, activation)


def _split_combinations(node: Node, tensors: tuple[str, ...]) -> list[trtp.AutoTuneCombination]:
    _, channels, height, width = trt_launch.extents(node.x)
    sizes = launches.sizes((1, channels, height, width), 1, node.groups, 0.0, "none")
    return [
        trt_launch.combination(launches.SPLIT, tensors, _IMAGES, layout, dtype)
        for layout, dtype in trt_launch.choices(channels)
        if any(plan.serves(layout, sizes, aligned=True) for plan in launches.SPLIT.plans)
    ]


def _split_kernel(number: int, node: Node, sizes: Mapping[str, Any]) -> trt_launch.Kernel:
    """Stats (0) or apply (1) of the plan for x's format."""
    plan = trt_launch.choose(launches.SPLIT, trt_launch.layout_of(node.x), sizes)
    if plan.derived["chunk_pixels"] != (node.chunk_pixels,):
        raise ValueError(
            f"AdaGN: chunk_pixels is {node.chunk_pixels}, for {sizes['pixels']} pixels it must be "
            f"{launches.chunk_pixels(sizes['pixels'])}"
        )
    return trt_launch.tensorrt_kernel(launches.SPLIT, plan, plan.launches[number], sizes, trt_launch.dtype_of(node.x))


_CHUNKS = {"groups": "INT", "chunk_pixels": "INT"}
trt_launch.define("AdaGNStats", _STATS, _CHUNKS, _partials, _stats_combinations, _stats_kernel)
for _activation, _op in BY_ACTIVATION.items():
    _whole, _applied = partial(_kernel, _activation), partial(_apply_kernel, _activation)
    trt_launch.define(_op.name, _FUSED, _op.attributes, _like_x, _combinations, _whole)
    _chunked = {**_op.attributes, **_CHUNKS}
    trt_launch.define(f"{_op.name}Apply", _APPLY, _chunked, _like_x, _apply_combinations, _applied)
