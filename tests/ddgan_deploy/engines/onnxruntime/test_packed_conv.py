"""Convolutions of low precision, as the CPU engine rewrites them: what it takes, and what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ddgan_deploy.engines.onnxruntime import native_graph as native_graph_module
from ddgan_deploy.engines.onnxruntime.graph import infer
from ddgan_deploy.engines.onnxruntime.packed_conv import pack_convolutions
from ddgan_deploy.engines.onnxruntime.session import new_session
from ddgan_deploy.engines.onnxruntime.weights import Weights
from ddgan_deploy.kernels.op import DOMAIN, VERSION

CHANNELS, OUTPUTS, SIZE = 16, 24, (8, 9)
STEP, ZERO = np.float32(0.03), np.uint8(120)
FORM = {"pads": [1, 1, 1, 1]}
Q = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"])
DQ = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"])
DW = helper.make_node("DequantizeLinear", ["w", "ws"], ["dw"], axis=0)


def _tensors(kernel=3, **changes):
    random = np.random.default_rng(0)
    shape = (OUTPUTS, CHANNELS, kernel, kernel)
    tensors = {
        "s": STEP,
        "z": ZERO,
        "w": random.integers(-127, 128, shape).astype(np.int8),
        "ws": (random.random(OUTPUTS) * 1e-3).astype(np.float32),
        "b": random.normal(size=OUTPUTS).astype(np.float32),
        "f": (random.normal(size=shape) / 12).astype(np.float32),
        "half": np.float32(0.5),
        "one": np.ones((1, CHANNELS), np.float32),
    }
    return {**tensors, **changes}


def _model(nodes, tensors, outputs=("y",), extents=SIZE):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", CHANNELS, *extents])
    r = helper.make_tensor_value_info("r", TensorProto.FLOAT, ["n", OUTPUTS, *extents])
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    read = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(np.asarray(v), name) for name, v in tensors.items() if name in read]
    graph = helper.make_graph(nodes, "graph", [x, r], results, constants)
    # Our ops have no inference of their own; the files say it.
    graph.value_info.append(helper.make_tensor_value_info("n", TensorProto.FLOAT, ["n", CHANNELS, *extents]))
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, VERSION)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _conv(inputs=("d", "dw", "b"), output="y", name="conv", **attributes):
    return helper.make_node("Conv", list(inputs), [output], name, **{**FORM, **attributes})


def _pack(model, **options):
    return pack_convolutions(model, Weights(model, None), infer(model).shapes, **options)


def _types(model):
    return [node.op_type for node in model.graph.node]


def _same_results(model, library, monkeypatch, atol=2e-5, bfloat16=False):
    """The rewritten model by the native library, and the model as it was by stock ONNX Runtime."""
    monkeypatch.setattr(native_graph_module, "has_exact_int8", lambda: True)
    content = model.SerializeToString()
    random = np.random.default_rng(1)
    inputs = {
        "x": random.normal(size=(2, CHANNELS, *SIZE)).astype(np.float32),
        "r": random.normal(size=(2, OUTPUTS, *SIZE)).astype(np.float32),
    }
    native = new_session(content, library=library, bfloat16=bfloat16).run(None, inputs)
    for mine, theirs in zip(native, new_session(content).run(None, inputs), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=atol)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no-bias"])
def test_a_quantized_convolution_becomes_one_of_integers(library, monkeypatch, kernel, biased):
    inputs = ("d", "dw", "b") if biased else ("d", "dw")
    model = _model([Q, DQ, DW, _conv(inputs, pads=[kernel // 2] * 4)], _tensors(kernel))
    _same_results(model, library, monkeypatch)
    assert _pack(model) == 1
    pack, conv = model.graph.node
    assert (pack.op_type, conv.op_type, conv.name, list(conv.output)) == ("Pack", "Uint8Conv", "conv", ["y"])
    kept = {tensor.name for tensor in model.graph.initializer}
    # What integers replace is gone.
    assert kept.isdisjoint({"s", "z", "w", "ws"}) and ("b" in kept) == biased


def test_signed_levels_are_moved(library, monkeypatch):
    model = _model([Q, DQ, DW, _conv()], _tensors(z=np.int8(0)))
    _same_results(model, library, monkeypatch)
    assert _pack(model) == 1
    assert {a.name: a.i for a in model.graph.node[0].attribute}["zero"] == 128


def test_what_follows_joins(library, monkeypatch):
    add, mul = helper.make_node("Add", ["r", "c"], ["a"]), helper.make_node("Mul", ["a", "half"], ["y"])
    model = _model([Q, DQ, DW, _conv(output="c"), add, mul], _tensors())
    _same_results(model, library, monkeypatch)
    assert _pack(model) == 1
    assert _types(model) == ["Pack", "Uint8Conv"]
    assert list(model.graph.node[1].input)[-1] == "r"
    assert {a.name: a.f for a in model.graph.node[1].attribute}["scale"] == 0.5


@pytest.mark.parametrize("op_type", ["AdaGN", "AdaGNSilu"])
def test_a_norm_packs_at_once(library, monkeypatch, op_type):
    norm = helper.make_node(op_type, ["x", "one", "one"], ["n"], domain=DOMAIN, groups=4, epsilon=1e-6)
    quantize = helper.make_node("QuantizeLinear", ["n", "s", "z"], ["q"])
    model = _model([norm, quantize, DQ, DW, _conv()], _tensors())
    assert _pack(model) == 1
    assert _types(model) == [f"Pack{op_type}", "Uint8Conv"]
    assert list(model.graph.node[0].input) == ["x", "one", "one"]


@pytest.mark.parametrize("others", ["reader", "output", "older"])
def test_a_norm_that_others_read_or_that_is_older_stays(others):
    attributes = {"activation": "silu"} if others == "older" else {}
    norm = helper.make_node("AdaGN", ["x", "one", "one"], ["n"], domain=DOMAIN, groups=4, epsilon=1e-6, **attributes)
    quantize = helper.make_node("QuantizeLinear", ["n", "s", "z"], ["q"])
    more = [helper.make_node("Neg", ["n"], ["m"])] if others == "reader" else []
    outputs = {"reader": ("y", "m"), "output": ("y", "n"), "older": ("y",)}[others]
    model = _model([norm, quantize, DQ, DW, _conv(), *more], _tensors(), outputs)
    assert _pack(model) == 1
    assert _types(model)[:2] == ["AdaGN", "Pack"]


def test_readers_of_one_input_and_steps_of_one_weight_share_what_is_packed():
    nodes = [
        *(Q, DQ, DW),
        _conv(output="y"),
        _conv(output="u"),
        helper.make_node("QuantizeLinear", ["y0", "s2", "z"], ["q2"]),
        helper.make_node("DequantizeLinear", ["q2", "s2", "z"], ["d2"]),
        helper.make_node("Slice", ["y", "zero", "channels", "zero1"], ["y0"]),
        _conv(("d2", "dw", "b"), "v"),
    ]
    nodes.insert(5, nodes.pop(7))
    extra = {"s2": np.float32(0.1), "zero": np.array([0]), "channels": np.array([CHANNELS]), "zero1": np.array([1])}
    model = _model(nodes, {**_tensors(), **extra}, ("y", "u", "v"))
    weights = Weights(model, None)
    assert pack_convolutions(model, weights, infer(model).shapes) == 3
    assert _types(model).count("Pack") == 2
    packed = [name for name in weights.made if name.endswith("/packed")]
    assert packed == ["w/packed"]


@pytest.mark.parametrize(
    ("changes", "attributes"),
    [
        ({}, {"strides": [2, 2]}),
        ({}, {"pads": [0, 0, 0, 0]}),
        ({}, {"pads": [1, 1, 0, 0]}),
        ({}, {"dilations": [2, 2]}),
        ({}, {"auto_pad": "SAME_UPPER"}),
        ({"w": np.ones((OUTPUTS, CHANNELS // 2, 3, 3), np.int8)}, {"group": 2}),
        ({"ws": np.float32(0.1)}, {}),
        ({"w": np.ones((OUTPUTS, CHANNELS, 5, 5), np.int8)}, {"pads": [2, 2, 2, 2]}),
        ({"s": np.full(CHANNELS, 0.1, np.float32), "z": np.zeros(CHANNELS, np.uint8)}, {}),
    ],
    ids=["strides", "pads", "uneven", "dilations", "auto-pad", "groups", "one-scale", "5x5", "scale-a-channel"],
)
def test_others_stay(changes, attributes):
    model = _model([Q, DQ, DW, _conv(**attributes)], _tensors(**changes))
    before = model.SerializeToString()
    assert _pack(model) == 0
    assert model.SerializeToString() == before


@pytest.mark.parametrize(
    "nodes",
    [
        [Q, helper.make_node("DequantizeLinear", ["q", "s2", "z"], ["d"]), DW, _conv()],
        [Q, DQ, helper.make_node("DequantizeLinear", ["w", "ws"], ["dw"], axis=1), _conv()],
        [Q, DQ, helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["dw"], axis=0), _conv()],
        [
            helper.make_node("QuantizeLinear", ["x", "s"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s"], ["d"]),
            *(DW, _conv()),
        ],
        [DW, _conv(("x", "dw", "b"))],
        [Q, DQ, _conv(("d", "f", "b"))],
    ],
    ids=["another-scale", "axis", "zero-points", "no-zero-point", "float-input", "float-weight"],
)
def test_what_is_not_rounded_so_stays(nodes):
    tensors = {**_tensors(), "s2": np.float32(0.5), "wz": np.ones(OUTPUTS, np.int8)}
    assert _pack(_model(nodes, tensors)) == 0


def test_without_the_instructions_integers_stay():
    model = _model([Q, DQ, DW, _conv()], _tensors())
    assert _pack(model, integers=False) == 0


def test_an_image_whose_size_is_not_known_stays():
    assert _pack(_model([Q, DQ, DW, _conv()], _tensors(), extents=("h", "w"))) == 0


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_float_convolution_may_be_of_bfloat16(library, monkeypatch, kernel):
    model = _model([_conv(("x", "f", "b"), pads=[kernel // 2] * 4)], _tensors(kernel))
    # 8 bits of mantissa, of sums of some two hundred products.
    _same_results(model, library, monkeypatch, atol=0.1, bfloat16=True)
    assert _pack(model) == 0
    assert _pack(model, bfloat16=True) == 1
    assert _types(model) == ["Pack", "Bfloat16Conv"]
    assert [tensor.name for tensor in model.graph.initializer] == ["b", "f/packed"]


def test_one_weight_under_two_scales_has_two_factors(library, monkeypatch):
    nodes = [
        *(Q, DQ, DW),
        helper.make_node("DequantizeLinear", ["w", "vs"], ["dv"], axis=0),
        _conv(output="y"),
        _conv(("d", "dv", "b"), "u", "other"),
    ]
    tensors = _tensors()
    model = _model(nodes, {**tensors, "vs": tensors["ws"] * 3}, ("y", "u"))
    _same_results(model, library, monkeypatch)
    assert _pack(model) == 2


def test_few_channels_keep_their_digits():
    weight = np.ones((8, CHANNELS, 3, 3), np.float32)
    assert _pack(_model([_conv(("x", "f", "b"))], _tensors(f=weight)), bfloat16=True) == 0


def test_in_the_body_of_a_loop(library, monkeypatch):
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes"], ["on"]),
            _conv(("state", "f", "b"), "c"),
            helper.make_node("Tanh", ["c"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("trip", TensorProto.INT64, []),
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["n", CHANNELS, *SIZE]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, ["n", CHANNELS, *SIZE]),
        ],
        [
            numpy_helper.from_array((np.random.default_rng(0).normal(size=(16, 16, 3, 3)) / 12).astype("f"), "f"),
            numpy_helper.from_array(np.zeros(16, np.float32), "b"),
        ],
    )
    loop = helper.make_node("Loop", ["trips", "", "x"], ["y"], body=body)
    model = _model([loop], {"trips": np.int64(3)})
    _same_results(model, library, monkeypatch, atol=0.1, bfloat16=True)
    assert _pack(model, bfloat16=True) == 1
    inner = model.graph.node[0].attribute[0].g
    assert [node.op_type for node in inner.node] == ["Identity", "Pack", "Bfloat16Conv", "Tanh"]
    # Weights are of the graph around it, where the session finds them in memory.
    assert [tensor.name for tensor in inner.initializer] == ["b"]
    assert "f/packed" in [tensor.name for tensor in model.graph.initializer]
