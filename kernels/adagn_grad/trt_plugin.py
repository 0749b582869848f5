"""AdaGNGrad and AdaGNSiluGrad as TensorRT plugins: whole in one launch, or as partial sums and what applies them.

The second way begins with `AdaGNStats`, for the statistics are those of AdaGN:

    AdaGNGrad(dy, x, scale, shift)  ->  AdaGNGradApply(dy, x, partials, sums, scale, shift)
                                        partials = AdaGNStats(x), sums = AdaGNGradSums(dy, x, partials, scale, shift)
"""

from __future__ import annotations

from functools import partial

import tensorrt as trt
import tensorrt.plugin as trtp

from .. import trt_launch
from ..adagn import trt_plugin as adagn
from ..trt_launch import Node
from .launches import LAUNCHES, SINGLE, SPLIT, single_launch
from .spec import BY_ACTIVATION

_FUSED = ("dy", "x", "scale", "shift")
_SUMS = ("dy", "x", "partials", "scale", "shift")
_APPLY = ("dy", "x", "partials", "sums", "scale", "shift")
_IMAGES = ("dy", "x", "dx")


def _like_x(node: Node) -> trtp.TensorDesc:
    return node.x.like()


def _like_partials(node: Node) -> trtp.TensorDesc:
    return trtp.from_shape_expr(node.partials.shape_expr, dtype=trt.float32)


def _combinations(node: Node) -> list[trtp.AutoTuneCombination]:
    _, channels, height, width = trt_launch.extents(node.x)
    served = [
        trt_launch.combination(LAUNCHES, (*_FUSED, "dx"), _IMAGES, layout, dtype)
        for layout, dtype in trt_launch.choices(channels)
        if single_launch(layout, channels, height * width, node.groups)
    ]
    if not served:
        raise ValueError(
            f"AdaGNGrad: {channels} channels in {node.groups} groups of {height}x{width} pixels take three launches: "
            "make the node an AdaGNStats, an AdaGNGradSums and an AdaGNGradApply"
        )
    return served


def _kernel(activation: str, node: Node) -> trt_launch.Kernel:
    sizes = adagn.styled_sizes(activation, node)
    plan = trt_launch.choose(SINGLE, trt_launch.layout_of(node.x), sizes)
    return trt_launch.tensorrt_kernel(SINGLE, plan, plan.launches[0], sizes, trt_launch.dtype_of(node.x))


def _split_kernel(number: int, activation: str, node: Node) -> trt_launch.Kernel:
    return adagn.split_kernel(SPLIT, number, node, adagn.styled_sizes(activation, node))


_sums = partial(adagn.split_combinations, SPLIT, (*_SUMS, "sums"), _IMAGES)
_apply = partial(adagn.split_combinations, SPLIT, (*_APPLY, "dx"), _IMAGES)
for _activation, _op in BY_ACTIVATION.items():
    _chunked = {**_op.attributes, "chunk_pixels": "INT"}
    _whole = partial(_kernel, _activation)
    _summed, _applied = (partial(_split_kernel, number, _activation) for number in (1, 2))
    trt_launch.define(_op.name, _FUSED, _op.attributes, _like_x, _combinations, _whole)
    trt_launch.define(f"{_op.name}Sums", _SUMS, _chunked, _like_partials, _sums, _summed)
    trt_launch.define(f"{_op.name}Apply", _APPLY, _chunked, _like_x, _apply, _applied)
