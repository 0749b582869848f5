"""AdaGN as TensorRT plugins: whole in one launch, or as partial statistics and what applies them.

TensorRT chooses the memory format of each on its own; the partial statistics are linear and
mean the same in every format.
"""

# Annotations are not deferred: TensorRT reads them.

from collections.abc import Mapping
from typing import Any

import tensorrt as trt
import tensorrt.plugin as trtp

from .. import trt_launch
from . import launches

_STATS = ("x", "partials")
_APPLY = ("x", "partials", "scale", "shift", "y")
_FUSED = ("x", "scale", "shift", "y")
_IMAGES = ("x", "y")


def _adagn(
    x: trtp.TensorDesc,
    scale: trtp.TensorDesc,
    shift: trtp.TensorDesc,
    groups: int,
    epsilon: float,
    activation: str,
) -> trtp.TensorDesc:
    return x.like()


def _adagn_autotune(
    x: trtp.TensorDesc,
    scale: trtp.TensorDesc,
    shift: trtp.TensorDesc,
    groups: int,
    epsilon: float,
    activation: str,
    outputs: tuple[trtp.TensorDesc],
) -> list[trtp.AutoTuneCombination]:
    _, channels, height, width = trt_launch.extents(x)
    served = [
        trt_launch.combination(launches.LAUNCHES, _FUSED, _IMAGES, layout, dtype)
        for layout, dtype in trt_launch.choices(channels)
        if launches.single_launch(layout, channels, height * width, groups)
    ]
    if not served:
        raise ValueError(
            f"AdaGN: {channels} channels in {groups} groups of {height}x{width} pixels take two launches: "
            "make the node an AdaGNStats and an AdaGNApply"
        )
    return served


def _adagn_implement(
    x: trtp.TensorDesc,
    scale: trtp.TensorDesc,
    shift: trtp.TensorDesc,
    groups: int,
    epsilon: float,
    activation: str,
    outputs: tuple[trtp.TensorDesc],
    tactic: int,
) -> trt_launch.Kernel:
    sizes = _styled_sizes(x, scale, shift, groups, epsilon, activation)
    plan = trt_launch.choose(launches.SINGLE, trt_launch.layout_of(x), sizes)
    return trt_launch.tensorrt_kernel(launches.SINGLE, plan, plan.launches[0], sizes, trt_launch.dtype_of(x))


def _stats(x: trtp.TensorDesc, groups: int, chunk_pixels: int) -> trtp.TensorDesc:
    batch, _, height, width = x.shape_expr
    shape = launches.partials_shape(batch, height * width, groups, chunk_pixels)
    return trtp.from_shape_expr(shape, dtype=trt.float32)


def _stats_autotune(
    x: trtp.TensorDesc, groups: int, chunk_pixels: int, outputs: tuple[trtp.TensorDesc]
) -> list[trtp.AutoTuneCombination]:
    return _split_combinations(x, groups, _STATS)


def _stats_implement(
    x: trtp.TensorDesc, groups: int, chunk_pixels: int, outputs: tuple[trtp.TensorDesc], tactic: int
) -> trt_launch.Kernel:
    return _split_kernel(0, x, launches.sizes(trt_launch.extents(x), 1, groups, 0.0, "none"), chunk_pixels)


def _apply(
    x: trtp.TensorDesc,
    partials: trtp.TensorDesc,
    scale: trtp.TensorDesc,
    shift: trtp.TensorDesc,
    groups: int,
    epsilon: float,
    activation: str,
    chunk_pixels: int,
) -> trtp.TensorDesc:
    return x.like()


def _apply_autotune(
    x: trtp.TensorDesc,
    partials: trtp.TensorDesc,
    scale: trtp.TensorDesc,
    shift: trtp.TensorDesc,
    groups: int,
    epsilon: float,
    activation: str,
    chunk_pixels: int,
    outputs: tuple[trtp.TensorDesc],
) -> list[trtp.AutoTuneCombination]:
    return _split_combinations(x, groups, _APPLY)


def _apply_implement(
    x: trtp.TensorDesc,
    partials: trtp.TensorDesc,
    scale: trtp.TensorDesc,
    shift: trtp.TensorDesc,
    groups: int,
    epsilon: float,
    activation: str,
    chunk_pixels: int,
    outputs: tuple[trtp.TensorDesc],
    tactic: int,
) -> trt_launch.Kernel:
    return _split_kernel(1, x, _styled_sizes(x, scale, shift, groups, epsilon, activation), chunk_pixels)


def _styled_sizes(
    x: trtp.TensorDesc,
    scale: trtp.TensorDesc,
    shift: trtp.TensorDesc,
    groups: int,
    epsilon: float,
    activation: str,
) -> dict[str, Any]:
    # One row count for both; a dynamic one is -1.
    if scale.shape[0] != shift.shape[0]:
        raise ValueError(f"AdaGN: scale has {scale.shape[0]} rows and shift {shift.shape[0]}, TensorRT needs as many")
    return launches.sizes(trt_launch.extents(x), scale.shape_expr[0], groups, epsilon, trt_launch.text(activation))


def _split_combinations(x: trtp.TensorDesc, groups: int, tensors: tuple[str, ...]) -> list[trtp.AutoTuneCombination]:
    _, channels, height, width = trt_launch.extents(x)
    sizes = launches.sizes((1, channels, height, width), 1, groups, 0.0, "none")
    return [
        trt_launch.combination(launches.SPLIT, tensors, _IMAGES, layout, dtype)
        for layout, dtype in trt_launch.choices(channels)
        if any(plan.serves(layout, sizes, aligned=True) for plan in launches.SPLIT.plans)
    ]


def _split_kernel(number: int, x: trtp.TensorDesc, sizes: Mapping[str, Any], chunk_pixels: int) -> trt_launch.Kernel:
    """Stats (0) or apply (1) of the plan for x's format."""
    plan = trt_launch.choose(launches.SPLIT, trt_launch.layout_of(x), sizes)
    if plan.derived["chunk_pixels"] != (chunk_pixels,):
        raise ValueError(
            f"AdaGN: chunk_pixels is {chunk_pixels}, for {sizes['pixels']} pixels it must be "
            f"{launches.chunk_pixels(sizes['pixels'])}"
        )
    return trt_launch.tensorrt_kernel(launches.SPLIT, plan, plan.launches[number], sizes, trt_launch.dtype_of(x))


trt_launch.define("AdaGN", _adagn, _adagn_autotune, _adagn_implement)
trt_launch.define("AdaGNStats", _stats, _stats_autotune, _stats_implement)
trt_launch.define("AdaGNApply", _apply, _apply_autotune, _apply_implement)
