"""float16 graphs, and quantized weights, as float32 ones; and where their values come from."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ddgan_deploy.artifact.subgraphs import with_bodies
from ddgan_deploy.engines.onnxruntime.dequantized import dequantize_weights
from ddgan_deploy.engines.onnxruntime.native_graph import native_graph
from ddgan_deploy.engines.onnxruntime.session import new_session
from ddgan_deploy.engines.onnxruntime.weights import Weights
from ddgan_deploy.engines.onnxruntime.widened import widen
from ddgan_deploy.errors import InputError

SHAPE = (2, 16, 8, 8)


def _random(*shape, dtype=np.float32):
    return (np.random.default_rng(0).normal(size=shape) / 12).astype(dtype)


def _half_nodes(source="x", result="y"):
    constant = numpy_helper.from_array(np.float16(0.5))
    return [
        helper.make_node("Cast", [source], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["h", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Constant", [], ["k"], value=constant),
        helper.make_node("Mul", ["c", "k"], ["m"]),
        helper.make_node("Cast", ["m"], [result], to=TensorProto.FLOAT),
    ]


def _model(nodes, tensors, types=("x", "y")):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *SHAPE[1:]]) for name in types)
    graph = helper.make_graph(nodes, "graph", [x], [y], tensors)
    graph.value_info.append(helper.make_tensor_value_info("h", TensorProto.FLOAT16, ["n", *SHAPE[1:]]))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _half_tensors():
    values = {"w": _random(16, 16, 3, 3, dtype=np.float16), "b": _random(16, dtype=np.float16)}
    return [numpy_helper.from_array(value, name) for name, value in values.items()]


def _in_a_loop():
    body = helper.make_graph(
        [helper.make_node("Identity", ["goes"], ["on"]), *_half_nodes("state", "next")],
        "body",
        [
            helper.make_tensor_value_info("trip", TensorProto.INT64, []),
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["n", *SHAPE[1:]]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, ["n", *SHAPE[1:]]),
        ],
        _half_tensors(),
    )
    loop = helper.make_node("Loop", ["trips", "", "x"], ["y"], body=body)
    return _model([loop], [numpy_helper.from_array(np.int64(2), "trips")])


@pytest.mark.parametrize("model", [_model(_half_nodes(), _half_tensors()), _in_a_loop()], ids=["graph", "Loop"])
def test_nothing_of_float16_is_left_and_results_stay(library, model):
    content = model.SerializeToString()
    x = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    native, portable = (new_session(content, library=path).run(None, {"x": x})[0] for path in (library, None))
    np.testing.assert_allclose(native, portable, atol=2e-3)
    assert widen(model, Weights(model, None)) == 2
    text = str(model)
    assert "elem_type: 10" not in text and "data_type: 10" not in text
    casts = [node for graph in with_bodies(model.graph) for node in graph.node if node.op_type == "Cast"]
    assert [cast.attribute[0].i for cast in casts] == [TensorProto.FLOAT] * 2


def _with_external_weights(model, folder, sizes):
    """Puts the initializers into a file, one after the other, each at a multiple of 4096."""
    content = bytearray()
    for tensor in model.graph.initializer:
        content += b"\xff" * (-len(content) % 4096)
        data = numpy_helper.to_array(tensor).tobytes()
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights.bin"), ("offset", len(content)), ("length", len(data))):
            tensor.external_data.add(key=key, value=str(value))
        content += data
    (folder / "weights.bin").write_bytes(content[:sizes])
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def test_weights_are_read_from_their_file(library, tmp_path):
    path = _with_external_weights(_model(_half_nodes(), _half_tensors()), tmp_path, None)
    x = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    native, portable = (new_session(path, library=which).run(None, {"x": x})[0] for which in (library, None))
    np.testing.assert_allclose(native, portable, atol=2e-3)
    made = native_graph(path, tmp_path)
    model = onnx.load_model_from_string(made.model)
    assert [tensor.name for tensor in model.graph.initializer if tensor.external_data] == list(made.files) == ["w"]


def test_a_file_that_ends_early_is_refused_in_one_line(library, tmp_path):
    path = _with_external_weights(_model(_half_nodes(), _half_tensors()), tmp_path, 4000)
    assert native_graph(path, tmp_path) == (path, {})
    with pytest.raises(InputError, match="^ONNX Runtime cannot load ") as refused:
        new_session(path, library=library)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("scale", "zero", "axis"),
    [
        (_random(6) ** 2, None, 0),
        (_random(5) ** 2, np.arange(5, dtype=np.int8), 1),
        (_random(6) ** 2, None, -4),
        (np.float32(0.1), np.int8(3), 1),
        (np.float32(0.1), None, 1),
    ],
    ids=["outputs", "channels-and-zeros", "from-the-end", "one-and-zero", "one"],
)
def test_quantized_weights_are_made_float_once(library, scale, zero, axis):
    integers = np.random.default_rng(0).integers(-127, 128, (6, 5, 3, 3)).astype(np.int8)
    tensors = {"w": integers, "s": scale, **({} if zero is None else {"z": zero})}
    nodes = [
        helper.make_node("DequantizeLinear", list(tensors), ["d"], axis=axis),
        helper.make_node("Conv", ["x", "d"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["x", "d"], ["e"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "e"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5, 7, 7])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "graph", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    content = model.SerializeToString()
    given = {"x": np.random.default_rng(1).normal(size=(2, 5, 7, 7)).astype(np.float32)}
    native, portable = (new_session(content, library=path).run(None, given)[0] for path in (library, None))
    np.testing.assert_allclose(native, portable, atol=1e-4)
    assert dequantize_weights(model, Weights(model, None)) == 2
    assert [node.op_type for node in model.graph.node] == ["Conv", "Conv", "Add"]
    assert [tensor.name for tensor in model.graph.initializer] == ["d/float32"]


def test_weights_that_are_computed_or_read_by_products_stay():
    nodes = [
        helper.make_node("QuantizeLinear", ["f", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Conv", ["x", "d"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("DequantizeLinear", ["v", "s"], ["e"]),
        helper.make_node("MatMul", ["c", "e"], ["y"]),
    ]
    tensors = {"f": _random(4, 4, 3, 3), "s": np.float32(1), "z": np.int8(0), "v": np.ones((8, 8), np.int8)}
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()]
    model = _model(nodes, constants)
    before = model.SerializeToString()
    assert dequantize_weights(model, Weights(model, None)) == 0
    assert model.SerializeToString() == before
