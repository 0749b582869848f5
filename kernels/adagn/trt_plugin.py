"""AdaGN and AdaGNSilu as TensorRT plugins: whole in one launch, or as partial statistics and what applies them.

TensorRT chooses the memory format of each on its own; the partial statistics are linear and
mean the same in every format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import tensorrt as trt
import tensorrt.plugin as trtp

from .. import trt_launch
from ..launch import OpLaunches
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
    sizes = styled_sizes(activation, node)
    plan = trt_launch.choose(launches.SINGLE, trt_launch.layout_of(node.x), sizes)
    return trt_launch.tensorrt_kernel(launches.SINGLE, plan, plan.launches[0], sizes, trt_launch.dtype_of(node.x))


def _partials(node: Node) -> trtp.TensorDesc:
    batch, _, height, width = node.x.shape_expr
    shape = launches.partials_shape(batch, height * width, node.groups, node.chunk_pixels)
    return trtp.from_shape_expr(shape, dtype=trt.float32)


def _stats_kernel(node: Node) -> trt_launch.Kernel:
    sizes = launches.sizes(trt_launch.extents(node.x), 1, node.groups, 0.0, "none")
    return split_kernel(launches.SPLIT, 0, node, sizes)


def _apply_kernel(activation: str, node: Node) -> trt_launch.Kernel:
    return split_kernel(launches.SPLIT, 1, node, styled_sizes(activation, node))


def styled_sizes(activation: str, node: Node) -> dict[str, Any]:
    """The sizes of a node with x, scale and shift.

    Raises:
        ValueError: scale and shift have not as many rows as each other.
    """
    # One row count for both; a dynamic one is -1.
    rows = node.scale.shape[0], node.shift.shape[0]
    if rows[0] != rows[1]:
        raise ValueError(f"AdaGN: scale has {rows[0]} rows and shift {rows[1]}, TensorRT needs as many")
    extents, style_rows = trt_launch.extents(node.x), node.scale.shape_expr[0]
    return launches.sizes(extents, style_rows, node.groups, node.epsilon, activation)


def split_combinations(
    op: OpLaunches, tensors: Sequence[str], images: Sequence[str], node: Node
) -> list[trtp.AutoTuneCombination]:
    """What a node of one of several launches takes: the images' formats that the op's plans serve."""
    _, channels, height, width = trt_launch.extents(node.x)
    sizes = launches.sizes((1, channels, height, width), 1, node.groups, 0.0, "none")
    return [
        trt_launch.combination(op, tensors, images, layout, dtype)
        for layout, dtype in trt_launch.choices(channels)
        if any(plan.serves(layout, sizes, aligned=True) for plan in op.plans)
    ]


def split_kernel(op: OpLaunches, number: int, node: Node, sizes: Mapping[str, Any]) -> trt_launch.Kernel:
    """One launch, by its number, of the op's plan for x's format.

    Raises:
        ValueError: the node's chunks are not the plan's.
    """
    plan = trt_launch.choose(op, trt_launch.layout_of(node.x), sizes)
    if plan.derived["chunk_pixels"] != (node.chunk_pixels,):
        raise ValueError(
            f"AdaGN: chunk_pixels is {node.chunk_pixels}, for {sizes['pixels']} pixels it must be "
            f"{launches.chunk_pixels(sizes['pixels'])}"
        )
    return trt_launch.tensorrt_kernel(op, plan, plan.launches[number], sizes, trt_launch.dtype_of(node.x))


_CHUNKS = {"groups": "INT", "chunk_pixels": "INT"}
_stats = partial(split_combinations, launches.SPLIT, (*_STATS, "partials"), _IMAGES)
_apply = partial(split_combinations, launches.SPLIT, (*_APPLY, "y"), _IMAGES)
trt_launch.define("AdaGNStats", _STATS, _CHUNKS, _partials, _stats, _stats_kernel)
for _activation, _op in BY_ACTIVATION.items():
    _whole, _applied = partial(_kernel, _activation), partial(_apply_kernel, _activation)
    trt_launch.define(_op.name, _FUSED, _op.attributes, _like_x, _combinations, _whole)
    trt_launch.define(f"{_op.name}Apply", _APPLY, {**_op.attributes, **_CHUNKS}, _like_x, _apply, _applied)
