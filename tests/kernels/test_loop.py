"""The ops that a Loop needs, in one: coefficients and the noise's stream of each turn, portable and native."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from ddgan_deploy.kernels.op import DOMAIN, IR_VERSION, OPSET, VERSION
from ddgan_deploy.kernels.philox_normal.philox import normal
from ddgan_deploy.kernels.philox_normal.spec import NORMAL_AT
from ddgan_deploy.kernels.reverse_step.spec import STEP, reference
from tests.kernels.cases import REVERSE_COEFFICIENTS
from tests.kernels.native import Native

SHAPE = (3, 5, 7)
TABLE = np.array(list(REVERSE_COEFFICIENTS.values()), np.float32)


def _model() -> onnx.ModelProto:
    """x -> x after a turn for each row of the table, whose network is the identity."""
    node, info = helper.make_node, helper.make_tensor_value_info
    body = helper.make_graph(
        [
            node("Gather", ["table", "turn"], ["coefficients"]),
            node("Mul", ["turn", "two"], ["even"]),
            node("Add", ["even", "two"], ["stream"]),
            node("PhiloxNormalAt", ["seed", "stream"], ["noise"], domain=DOMAIN, shape=SHAPE),
            node("ReverseStep", ["x", "x", "noise", "coefficients"], ["x_prev"], domain=DOMAIN),
            node("Identity", ["go"], ["on"]),
        ],
        "turn",
        [info("turn", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("x", TensorProto.FLOAT, None)],
        [info("on", TensorProto.BOOL, []), info("x_prev", TensorProto.FLOAT, None)],
    )
    graph = helper.make_graph(
        [node("Loop", ["turns", "", "x_T"], ["x_0"], body=body)],
        "sampler",
        [info("seed", TensorProto.INT64, ["batch", 1]), info("x_T", TensorProto.FLOAT, ["batch", *SHAPE])],
        [info("x_0", TensorProto.FLOAT, ["batch", *SHAPE])],
        [
            onnx.numpy_helper.from_array(np.array(value), name)
            for name, value in (("table", TABLE), ("turns", np.int64(len(TABLE))), ("two", np.int64(2)))
        ],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)]
    functions = [NORMAL_AT.function(), STEP.function()]
    return helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=IR_VERSION)


@pytest.mark.parametrize("portable", [True, False])
def test_a_loop_of_reverse_steps(library, portable):
    seeds = np.array([7, -1], np.int64)
    x = torch.from_numpy(normal(seeds, 0, SHAPE))
    if portable:
        session = onnxruntime.InferenceSession(_model().SerializeToString(), providers=["CPUExecutionProvider"])
    else:
        session = Native(library).session(_model())
    (measured,) = session.run(None, {"seed": seeds[:, None], "x_T": x.numpy()})
    for turn, row in enumerate(TABLE):
        x = reference(x, x, torch.from_numpy(normal(seeds, 2 + 2 * turn, SHAPE)), torch.from_numpy(row))
    np.testing.assert_allclose(measured, x.numpy(), rtol=0, atol=1e-5)
