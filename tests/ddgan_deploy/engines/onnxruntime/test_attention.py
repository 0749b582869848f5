"""Self-attention as the CPU engine rewrites it: what it takes, and what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from ddgan_deploy.engines.onnxruntime.attention import fuse_attention
from ddgan_deploy.engines.onnxruntime.graph import infer
from ddgan_deploy.engines.onnxruntime.session import new_session

HEADS, ONE_HEAD = ["n", 6, 8, 20], ["n", 24, 20]


def _nodes(rank=4, **changes):
    """Name -> node, of the attention that the exporter's graphs have."""
    turn = [*range(rank - 2), rank - 1, rank - 2]
    nodes = {
        "split": helper.make_node("Split", ["x"], ["q", "k", "v"], axis=1, num_outputs=3),
        "q": helper.make_node("Transpose", ["q"], ["q_t"], perm=turn),
        "scores": helper.make_node("MatMul", ["q_t", "k"], ["s"]),
        "softmax": helper.make_node("Softmax", ["s"], ["p"], axis=-1),
        "turn": helper.make_node("Transpose", ["p"], ["p_t"], perm=turn),
        "result": helper.make_node("MatMul", ["v", "p_t"], ["y"], "named"),
    }
    return list({**nodes, **changes}.values())


def _model(nodes, shape=HEADS, outputs=("y",), dtype=TensorProto.FLOAT):
    x = helper.make_tensor_value_info("x", dtype, shape)
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(nodes, "graph", [x], results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _fuse(model):
    return fuse_attention(model, infer(model))


def _same_results(model, library, inputs):
    native, portable = (
        new_session(model.SerializeToString(), library=path).run(None, inputs) for path in (library, None)
    )
    for mine, theirs in zip(native, portable, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-6)


def _x(shape):
    return np.random.default_rng(0).normal(size=[2, *shape[1:]]).astype(np.float32)


@pytest.mark.parametrize("shape", [HEADS, ONE_HEAD], ids=["heads", "one-head"])
def test_attention_becomes_one_node(library, shape):
    model = _model(_nodes(len(shape)), shape)
    _same_results(model, library, {"x": _x(shape)})
    assert _fuse(model) == 1
    (node,) = model.graph.node
    assert (node.op_type, node.name, list(node.input), list(node.output)) == ("Attention", "named", ["x"], ["y"])


@pytest.mark.parametrize("shape", [HEADS, ONE_HEAD], ids=["heads", "one-head"])
def test_an_axis_may_be_counted_from_either_end(shape):
    rank = len(shape)
    split = helper.make_node("Split", ["x"], ["q", "k", "v"], axis=1 - rank, num_outputs=3)
    softmax = helper.make_node("Softmax", ["s"], ["p"], axis=rank - 1)
    assert _fuse(_model(_nodes(rank, split=split, softmax=softmax), shape)) == 1


def test_a_cast_that_changes_nothing_is_none(library):
    """As a float16 artifact has them around the softmax, widened."""
    nodes = _nodes(softmax=helper.make_node("Softmax", ["s32"], ["p32"]))
    nodes.insert(3, helper.make_node("Cast", ["s"], ["s32"], to=TensorProto.FLOAT))
    nodes.insert(5, helper.make_node("Cast", ["p32"], ["p"], to=TensorProto.FLOAT))
    model = _model(nodes)
    _same_results(model, library, {"x": _x(HEADS)})
    assert _fuse(model) == 1
    assert [node.op_type for node in model.graph.node] == ["Attention"]


def test_what_else_reads_q_k_or_v_still_can(library):
    model = _model([*_nodes(), helper.make_node("Neg", ["k"], ["z"])], outputs=("y", "z"))
    _same_results(model, library, {"x": _x(HEADS)})
    assert _fuse(model) == 1
    assert [node.op_type for node in model.graph.node] == ["Split", "Attention", "Neg"]


@pytest.mark.parametrize("value", ["s", "p", "p_t"])
@pytest.mark.parametrize("by", ["node", "output"])
def test_scores_that_others_read_stay(library, value, by):
    nodes = [*_nodes(), *([helper.make_node("Neg", [value], ["z"])] if by == "node" else [])]
    model = _model(nodes, outputs=("y", "z" if by == "node" else value))
    _same_results(model, library, {"x": _x(HEADS)})
    before = model.SerializeToString()
    assert _fuse(model) == 0
    assert model.SerializeToString() == before


STILL = [0, 1, 2, 3]


@pytest.mark.parametrize(
    "changes",
    [
        {"split": helper.make_node("Split", ["x"], ["k", "q", "v"], axis=1, num_outputs=3)},
        {"split": helper.make_node("Split", ["x"], ["q", "k", "v"], axis=0, num_outputs=3)},
        {"split": helper.make_node("Split", ["x"], ["q", "k", "v", "w"], axis=1, num_outputs=4)},
        {"q": helper.make_node("Transpose", ["q"], ["q_t"], perm=STILL)},
        {"q": helper.make_node("Transpose", ["q"], ["q_t"])},
        {"q": helper.make_node("Identity", ["q"], ["q_t"])},
        {"softmax": helper.make_node("Softmax", ["s"], ["p"], axis=2)},
        {"softmax": helper.make_node("LogSoftmax", ["s"], ["p"])},
        {"turn": helper.make_node("Transpose", ["p"], ["p_t"], perm=STILL)},
        {"scores": helper.make_node("MatMul", ["k", "q_t"], ["s"])},
        {"result": helper.make_node("MatMul", ["p_t", "v"], ["y"])},
        {"result": helper.make_node("MatMul", ["k", "p_t"], ["y"])},
    ],
    ids=str,
)
def test_other_products_stay(changes):
    model = _model(_nodes(**changes))
    before = model.SerializeToString()
    assert _fuse(model) == 0
    assert model.SerializeToString() == before


@pytest.mark.parametrize("shape", [["n", "c", 8, 20], ["n", 7, 8, 20], None], ids=str)
def test_parts_that_may_differ_stay(shape):
    assert _fuse(_model(_nodes(), shape)) == 0


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16])
def test_other_types_stay(dtype):
    assert _fuse(_model(_nodes(), dtype=dtype)) == 0


def test_a_softmax_of_another_type_stays():
    nodes = _nodes(softmax=helper.make_node("Softmax", ["wide"], ["q64"]))
    nodes.insert(3, helper.make_node("Cast", ["s"], ["wide"], to=TensorProto.DOUBLE))
    nodes.insert(5, helper.make_node("Cast", ["q64"], ["p"], to=TensorProto.FLOAT))
    assert _fuse(_model(nodes)) == 0
