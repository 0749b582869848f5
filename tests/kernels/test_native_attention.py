"""Attention's C++ kernel, on every instruction set, against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from ddgan_deploy.kernels.op import DOMAIN, IR_VERSION, OPSET, VERSION

# Batch, heads, channels a head, tokens. Keys are computed 64 at a time, queries at most 128.
SHAPES = [
    (1, 1, 256, 256),
    (5, 1, 20, 64),
    (1, 4, 64, 256),
    (5, 3, 64, 49),
    (1, 2, 128, 65),
    (1, 3, 64, 1024),
    (1, 1, 8, 4096),
    (5, 2, 8, 3),
    (1, 4, 200, 16),
    (5, 1, 1, 1),
    (0, 2, 8, 16),
]


def _qkv(shape, logits=1.0):
    """Normal numbers; scores as well, times a number."""
    batch, heads, channels, tokens = shape
    qkv = np.random.default_rng(sum(shape)).normal(size=(batch, 3, heads, channels, tokens)).astype(np.float32)
    qkv[:, 0] *= logits * channels**-0.5
    return qkv


def _run(native, qkv, threads=2):
    """From [batch, 3, heads, channels, tokens] to [batch, heads, channels, tokens]."""
    batch, _, heads, channels, tokens = qkv.shape
    return _run_op(native, qkv.reshape(batch, 3 * heads, channels, tokens), threads)


def _run_op(native, x, threads=2):
    value = helper.make_tensor_value_info("qkv", TensorProto.FLOAT, [None] * x.ndim)
    node = helper.make_node("Attention", ["qkv"], ["y"], domain=DOMAIN)
    graph = helper.make_graph([node], "attention", [value], [helper.make_empty_tensor_value_info("y")])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return native.session(model, threads).run(None, {"qkv": x})[0]


def _reference(qkv, dtype=torch.float64):
    q, k, v = torch.from_numpy(qkv).to(dtype).unbind(1)
    return (v @ (q.transpose(2, 3) @ k).softmax(-1).transpose(2, 3)).numpy()


def _agrees(y, qkv):
    exact = _reference(qkv)
    torch_error = np.abs(_reference(qkv, torch.float32) - exact).max(initial=0)
    assert (y.shape, y.dtype) == (exact.shape, np.float32)
    assert np.abs(y - exact).max(initial=0) <= 2 * torch_error + 1e-6


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_real_and_odd_shapes(native, shape):
    qkv = _qkv(shape)
    _agrees(_run(native, qkv), qkv)


@pytest.mark.parametrize("logits", [1e-6, 30, 1000])
def test_flat_and_sharp_scores(native, logits):
    qkv = _qkv((2, 2, 20, 150), logits)
    _agrees(_run(native, qkv), qkv)


def test_scores_beyond_the_exponential_pick_one_key(native):
    qkv = _qkv((1, 1, 8, 100), 1e30)
    scores = (qkv[0, 0, 0].T.astype(np.float64) @ qkv[0, 1, 0]).argmax(-1)
    np.testing.assert_array_equal(_run(native, qkv)[0, 0], qkv[0, 2, 0][:, scores])


def test_one_head_needs_no_axis(native):
    qkv = _qkv((3, 1, 20, 70))
    y = _run_op(native, qkv.reshape(3, 60, 70))
    np.testing.assert_array_equal(y, _run(native, qkv)[:, 0])


@pytest.mark.parametrize("shape", [(5, 2, 20, 200), (3, 1, 64, 1000)], ids=str)
def test_bits_depend_neither_on_threads_nor_on_the_batch(native, shape):
    qkv = _qkv(shape)
    y = _run(native, qkv)
    for threads in (1, 3):
        np.testing.assert_array_equal(_run(native, qkv, threads), y)
    for n in range(len(qkv)):
        np.testing.assert_array_equal(_run(native, qkv[n : n + 1]), y[n : n + 1])


@pytest.mark.parametrize("masked", [slice(0, 70), slice(64, 140), slice(0, 200, 3)], ids=str)
def test_a_key_of_minus_infinity_has_no_weight(native, masked):
    qkv = _qkv((1, 2, 20, 200))
    qkv[:, 0, :, 0] = 1
    qkv[:, 1, :, 0, masked] = -np.inf
    _agrees(_run(native, qkv), qkv)


@pytest.mark.parametrize("score", [-np.inf, np.inf, np.nan])
def test_scores_without_a_softmax_are_no_numbers(native, score):
    qkv = _qkv((1, 2, 8, 140))
    qkv[0, 0, 1, 0] = 1
    qkv[0, 1, 1, 0, slice(None) if score == -np.inf else 100] = score
    y = _run(native, qkv)
    assert np.isnan(y[0, 1]).all()
    assert np.isfinite(y[0, 0]).all()


@pytest.mark.parametrize("payload", [0x7FC00000, 0x7FC00001, 0xFFC12345])
def test_a_value_that_is_no_number_stays_where_it_is(native, payload):
    nan = np.array([payload], np.uint32).view(np.float32)[0]
    for place in range(3):
        qkv = _qkv((2, 2, 20, 130))
        qkv[1, place, 0, 7, 90] = nan
        np.testing.assert_array_equal(np.isnan(_run(native, qkv)), np.isnan(_reference(qkv)))


@pytest.mark.parametrize("shape", [(2, 20, 64), (1, 4, 8, 8), (6, 8), (1, 1, 3, 8, 8)], ids=str)
def test_what_does_not_fit_is_refused(native, shape):
    with pytest.raises(Exception, match=r"Attention: qkv has shape \[.*\], it must be \[N, 3 C, T\] or"):
        _run_op(native, np.zeros(shape, np.float32))
