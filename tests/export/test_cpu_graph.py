"""Exported graphs as the CPU engine rewrites them: how many convolutions it takes, and that results stay."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.artifact.manifest import SAMPLER
from ddgan_deploy.artifact.reading import read_sampler
from ddgan_deploy.engines.onnxruntime.conv3x3 import specialize
from ddgan_deploy.engines.onnxruntime.native_graph import native_graph
from ddgan_deploy.inputs import rows
from ddgan_deploy.parity.comparison import psnr


@pytest.fixture(scope="module")
def engines(library, biggan_fp32):
    path = biggan_fp32.path
    return open_artifact(path, "onnxruntime"), open_artifact(path, "onnxruntime-portable")


def test_a_golden_case(biggan_fp32):
    model = onnx.load(biggan_fp32.path / SAMPLER, load_external_data=False)
    # In each of four steps the two convolutions of the ten residual blocks that end in 8 x 8 pixels or more; the
    # second of each takes the block's last sum along.
    assert specialize(model) == 80
    nodes = [node for node in model.graph.node if node.op_type == "Conv3x3"]
    assert sum(len(node.input) == 4 for node in nodes) == 40


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_attention_of_a_golden_case(exports, biggan, precision):
    """Three a step; no softmax is left, and of products those of the mapping network."""
    artifact = exports.golden(biggan, precision)
    model = onnx.load_model_from_string(native_graph(artifact.path / SAMPLER, artifact.path).model)
    types = Counter(node.op_type for node in model.graph.node)
    assert (types["Attention"], types["Softmax"]) == (12, 0)
    assert not any(node.op_type == "Transpose" for node in model.graph.node)


def test_the_engine_runs_it(engines, biggan):
    native, portable = engines
    x_0 = native.sample(biggan.inputs)
    np.testing.assert_allclose(x_0, portable.sample(biggan.inputs), atol=2e-5)
    np.testing.assert_array_equal(native.sample(rows(biggan.inputs, [0])), x_0[:1])


def test_any_inner_value_can_still_be_read(engines, biggan):
    native, portable = engines
    values = [node.name for node in read_sampler(portable.artifact).graph.node if node.op_type in ("Conv", "Add")]
    names = values[:: len(values) // 8]
    both = zip(native.probe(biggan.inputs, names), portable.probe(biggan.inputs, names), strict=True)
    for mine, theirs in both:
        np.testing.assert_allclose(mine, theirs, atol=1e-3)


def test_a_float16_artifact_runs_as_one_of_float32(library, biggan_fp16, biggan):
    native, portable = (open_artifact(biggan_fp16.path, name) for name in ("onnxruntime", "onnxruntime-portable"))
    content = native_graph(biggan_fp16.path / SAMPLER, biggan_fp16.path).model
    model = onnx.load_model_from_string(content)
    assert sum(node.op_type == "Conv3x3" for node in model.graph.node) == 80
    assert all(tensor.data_type != tensor.FLOAT16 for tensor in model.graph.initializer)
    # What float16 rounds between the nodes is gone.
    assert psnr(native.sample(biggan.inputs), portable.sample(biggan.inputs)) > 60
