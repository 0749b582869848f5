"""Resampling by two with a separable filter, in a graph as the CPU engine runs it: `ddgan.ResampleUp`, `ResampleDown`.

1. ConvTranspose(x, w, b), depthwise, 4x4, stride 2, padding 1, with or without a bias, becomes ResampleUp(x, b).
2. Conv(x, w, b) of the same form becomes ResampleDown(x, b).

Both if w is a constant in which every channel has the same filter, of rank one: ONNX Runtime has no kernel for that,
and takes the one for any weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.subgraphs import with_bodies
from ddgan_deploy.engines.onnxruntime.graph import (
    ONNX_DOMAINS,
    Shapes,
    Values,
    attributes,
    defaults,
    drop_unread,
    image_size,
    import_domain,
)
from ddgan_deploy.engines.onnxruntime.weights import Weights
from ddgan_deploy.kernels.op import DOMAIN

if TYPE_CHECKING:
    import onnx

_OPS = {"ConvTranspose": "ResampleUp", "Conv": "ResampleDown"}
_TAPS = 4
_EXACT = 1e-6
"""Of the largest tap: what rank one may leave over."""


def resample(model: onnx.ModelProto, weights: Weights, shapes: Shapes) -> int:
    """Rewrites the model's graph and the bodies of its Loops in place; returns the number of nodes."""
    values, count = Values.of(model, shapes), 0
    for graph in with_bodies(model.graph):
        for node in graph.node:
            taps = _taps_of(node, values, weights)
            if taps is not None:
                _replace(node, taps)
                count += 1
    if count:
        import_domain(model)
        drop_unread(model)
    return count


def _replace(node: onnx.NodeProto, taps: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]) -> None:
    from onnx import helper

    vertical, horizontal = (axis.tolist() for axis in taps)
    op_type, inputs, outputs = _OPS[node.op_type], [node.input[0], *node.input[2:]], list(node.output)
    attributes = {"vertical": vertical, "horizontal": horizontal}
    node.CopyFrom(helper.make_node(op_type, inputs, outputs, node.name, domain=DOMAIN, **attributes))


def _taps_of(
    node: onnx.NodeProto, values: Values, weights: Weights
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
    """A filter's taps down and along; None where the node is no such resampling."""
    if node.op_type not in _OPS or node.domain not in ONNX_DOMAINS or len(node.input) not in (2, 3):
        return None
    tensor, size = values.initializers.get(node.input[1]), image_size(values.shapes.get(node.input[0], ()))
    if tensor is None or tensor.data_type != tensor.FLOAT or size is None or min(size) < 2:
        return None
    channels = tensor.dims[0]
    kernel = [_TAPS, _TAPS]
    wanted = {**defaults(node.op_type, kernel), "group": channels, "pads": [1, 1, 1, 1], "strides": [2, 2]}
    if list(tensor.dims[1:]) != [1, *kernel] or attributes(node, kernel) != wanted:
        return None
    return _separated(weights.read(tensor).astype(np.float64)[:, 0])


def _separated(kernels: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
    """What the filters [channels, 4, 4] all are the outer product of."""
    kernel = kernels[0]
    largest = np.abs(kernel).max()
    row, column = np.unravel_index(np.abs(kernel).argmax(), kernel.shape)
    if not largest or not (kernels == kernel).all():
        return None
    # Of equal size, so that neither loses digits.
    root = np.sqrt(largest)
    vertical, horizontal = kernel[:, column] / root * np.sign(kernel[row, column]), kernel[row] / root
    if np.abs(np.outer(vertical, horizontal) - kernel).max() > _EXACT * largest:
        return None
    return vertical.astype(np.float32), horizontal.astype(np.float32)
