"""PosteriorSample as a TensorRT plugin."""

# Annotations are not deferred: TensorRT reads them.

import tensorrt.plugin as trtp

from .. import trt_launch
from ..launch import LINEAR, NCHW
from . import launches

_TENSORS = ("x0_raw", "x_t", "noise", "x_prev")


def _posterior_sample(
    x0_raw: trtp.TensorDesc,
    x_t: trtp.TensorDesc,
    noise: trtp.TensorDesc,
    coef_x0: float,
    coef_xt: float,
    sigma: float,
    squash: str,
) -> trtp.TensorDesc:
    return x_t.like()


def _autotune(
    x0_raw: trtp.TensorDesc,
    x_t: trtp.TensorDesc,
    noise: trtp.TensorDesc,
    coef_x0: float,
    coef_xt: float,
    sigma: float,
    squash: str,
    outputs: tuple[trtp.TensorDesc],
) -> list[trtp.AutoTuneCombination]:
    _, channels, _, _ = trt_launch.extents(x0_raw)
    # Channels-last only where all tensors are float32: their formats differ by type.
    return [
        trt_launch.combination(launches.LAUNCHES, _TENSORS, _TENSORS, layout, dtype)
        for layout, dtype in trt_launch.choices(channels)
        if layout == NCHW or dtype == "float32"
    ]


def _implement(
    x0_raw: trtp.TensorDesc,
    x_t: trtp.TensorDesc,
    noise: trtp.TensorDesc,
    coef_x0: float,
    coef_xt: float,
    sigma: float,
    squash: str,
    outputs: tuple[trtp.TensorDesc],
    tactic: int,
) -> trt_launch.Kernel:
    sizes = launches.sizes(trt_launch.extents(x0_raw), coef_x0, coef_xt, sigma, trt_launch.text(squash))
    plan = trt_launch.choose(launches.LAUNCHES, LINEAR, sizes)
    return trt_launch.tensorrt_kernel(launches.LAUNCHES, plan, plan.launches[0], sizes, trt_launch.dtype_of(x0_raw))


trt_launch.define("PosteriorSample", _posterior_sample, _autotune, _implement)
