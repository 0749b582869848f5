"""The native library as ONNX Runtime meets it: chosen over the function bodies, with shapes inferred."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ddgan_deploy.kernels import native_library
from ddgan_deploy.kernels.adagn.spec import SPEC as ADAGN
from ddgan_deploy.kernels.philox_normal.spec import SPEC as PHILOX
from ddgan_deploy.kernels.posterior_sample.spec import SPEC as POSTERIOR
from tests.kernels.cases import POSTERIOR_COEFFICIENTS, adagn_inputs, posterior_inputs
from tests.kernels.conftest import op_model
from tests.kernels.native import Native

X = (2, 12, 7, 5)


def _cases(dtype):
    x, scale, shift = adagn_inputs((*X, 3), dtype, None)
    return {
        "AdaGN": op_model(ADAGN, (x, scale, shift), groups=3, epsilon=1e-6, activation="silu"),
        "PosteriorSample": op_model(POSTERIOR, posterior_inputs(X, dtype), **POSTERIOR_COEFFICIENTS, squash="tanh"),
        "PhiloxNormal": op_model(PHILOX, (np.zeros((2, 1), np.int64),), stream=0, shape=X[1:]),
    }


@pytest.fixture(scope="module")
def library_alone(library):
    return Native(library)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", ["AdaGN", "PosteriorSample", "PhiloxNormal"])
def test_the_kernel_runs_instead_of_the_function_body(library_alone, tmp_path, name, dtype):
    optimized = tmp_path / "optimized.onnx"
    library_alone.session(_cases(dtype)[name], optimized_model_filepath=str(optimized))
    assert [node.op_type for node in onnx.load(optimized).graph.node] == [name]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", ["AdaGN", "PosteriorSample", "PhiloxNormal"])
def test_shapes_and_types_are_inferred(library_alone, name, dtype):
    model = _cases(dtype)[name]
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
        for dim, extent in zip(value.type.tensor_type.shape.dim[1:], X[1:], strict=False):
            dim.dim_value = extent
    if name == "PhiloxNormal":
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    (output,) = library_alone.session(model).get_outputs()
    assert output.shape[1:] == [12, 7, 5]
    assert not isinstance(output.shape[0], int) or output.shape[0] < 0
    assert output.type == ("tensor(float16)" if (name, dtype) == ("AdaGN", "float16") else "tensor(float)")


def test_an_input_of_unknown_rank(library_alone):
    inputs = adagn_inputs((*X, 3), "float16", None)
    model = _cases("float16")["AdaGN"]
    model.graph.node[0].input[0] = "reshaped"
    model.graph.node.insert(0, helper.make_node("Reshape", ["x", "shape"], ["reshaped"]))
    model.graph.input.append(helper.make_tensor_value_info("shape", TensorProto.INT64, [None]))
    feeds = dict(zip(("x", "scale", "shift"), inputs, strict=True))
    (y,) = library_alone.session(model).run(None, {**feeds, "shape": np.array(X)})
    assert y.dtype == np.float16
    assert y.shape == X


def test_an_unknown_instruction_set_is_refused(library, tmp_path, monkeypatch):
    copy = shutil.copy(library, tmp_path / "library.so")
    monkeypatch.setenv("DDGAN_ISA", "sse9")
    with pytest.raises(Exception, match="DDGAN_ISA is 'sse9', this machine has generic"):
        Native(copy)


def test_a_missing_library_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("DDGAN_ORT_LIBRARY", str(tmp_path / "none.so"))
    with pytest.raises(FileNotFoundError, match="DDGAN_ORT_LIBRARY is .*none.so, which is not a file"):
        native_library.ort_library()


def test_the_environment_variable_comes_first(monkeypatch, tmp_path):
    library = tmp_path / "mine.so"
    library.touch()
    monkeypatch.setenv("DDGAN_ORT_LIBRARY", str(library))
    assert native_library.ort_library() == library


def test_two_sessions_share_the_library(library_alone):
    model = _cases("float32")["PhiloxNormal"]
    first, second = library_alone.session(model), library_alone.session(model)
    seed = {"seed": np.array([[7]])}
    expected = first.run(None, seed)[0]
    del first
    np.testing.assert_array_equal(second.run(None, seed)[0], expected)
