"""PosteriorSample of files of format 1 in OpenVINO's operations, for its reader of ONNX files.

    x_prev = coef_x0 * squash(x0_raw) + coef_xt * x_t + sigma * noise

in float32 whatever x0_raw is; ``squash`` is "tanh" or "none". One draw from q(x_{t-1} | x_t, x_0), equation 4 of Xiao
et al. 2022.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import Type
from openvino import opset13 as op


def convert(node: Any) -> list[Any]:
    """The outputs that stand for a PosteriorSample node.

    Args:
        node: ``openvino.frontend.NodeContext``.
    """
    x0_raw, x_t, noise = (op.convert(node.get_input(index), Type.f32) for index in range(3))
    x_0 = op.tanh(x0_raw) if node.get_attribute("squash") == "tanh" else x0_raw

    def times(value: Any, coefficient: str) -> Any:
        return op.multiply(value, op.constant(np.float32(node.get_attribute(coefficient))))

    mean = op.add(times(x_0, "coef_x0"), times(x_t, "coef_xt"))
    return list(op.add(mean, times(noise, "sigma")).outputs())


CONVERTERS = {"PosteriorSample": convert}
