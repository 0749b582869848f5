"""PhiloxNormal as a TensorRT plugin.

TensorRT allows no attribute of the name ``stream``: on a node for the plugin it is ``stream_number``.
"""

# Annotations are not deferred: TensorRT reads them.

import numpy as np
import numpy.typing as npt
import tensorrt as trt
import tensorrt.plugin as trtp

from .. import trt_launch
from ..launch import LINEAR
from . import launches

_DTYPE = "float32"


def _philox_normal(seed: trtp.TensorDesc, stream_number: int, shape: npt.NDArray[np.int64]) -> trtp.TensorDesc:
    return trtp.from_shape_expr((seed.shape_expr[0], *shape.tolist()), dtype=trt.float32)


def _autotune(
    seed: trtp.TensorDesc, stream_number: int, shape: npt.NDArray[np.int64], outputs: tuple[trtp.TensorDesc]
) -> list[trtp.AutoTuneCombination]:
    return [trt_launch.combination(launches.LAUNCHES, ("seed", "noise"), (), LINEAR, _DTYPE)]


def _implement(
    seed: trtp.TensorDesc,
    stream_number: int,
    shape: npt.NDArray[np.int64],
    outputs: tuple[trtp.TensorDesc],
    tactic: int,
) -> trt_launch.Kernel:
    sizes = launches.sizes(seed.shape_expr[0], stream_number, shape.tolist())
    plan = trt_launch.choose(launches.LAUNCHES, LINEAR, sizes)
    return trt_launch.tensorrt_kernel(launches.LAUNCHES, plan, plan.launches[0], sizes, _DTYPE)


trt_launch.define("PhiloxNormal", _philox_normal, _autotune, _implement)
