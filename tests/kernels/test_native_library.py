"""The native library as ONNX Runtime meets it: chosen over the function bodies, with shapes inferred."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from ddgan_deploy.kernels import native_library
from ddgan_deploy.kernels.adagn.spec import ADAGN, ADAGN_SILU
from ddgan_deploy.kernels.adagn_grad.spec import ADAGN_GRAD, ADAGN_SILU_GRAD
from ddgan_deploy.kernels.philox_normal.spec import INTEGER, NORMAL_AT
from ddgan_deploy.kernels.philox_normal.spec import SPEC as PHILOX
from ddgan_deploy.kernels.reverse_step.spec import MEAN, STEP
from ddgan_deploy.kernels.style_lrelu.spec import SPEC as STYLE_LRELU
from tests.kernels.cases import (
    POSTERIOR_COEFFICIENTS,
    adagn_grad_inputs,
    adagn_inputs,
    posterior_inputs,
    reverse_inputs,
    style_inputs,
)
from tests.kernels.conftest import op_model
from tests.kernels.native import Native
from tests.kernels.older_ops import POSTERIOR

X = (2, 12, 7, 5)
NAMES = [
    *(
        "AdaGN",
        "AdaGNSilu",
        "AdaGNGrad",
        "AdaGNSiluGrad",
        "PosteriorSample",
        "ReverseStep",
        "ReverseMean",
        "StyleLrelu",
    ),
    *("PhiloxNormal", "PhiloxNormalAt", "PhiloxInteger"),
]


def _cases(dtype):
    x, scale, shift = adagn_inputs((*X, 3), dtype, None)
    gradient = adagn_grad_inputs((*X, 3), dtype, None)
    seed = np.zeros((2, 1), np.int64)
    return {
        "AdaGN": op_model(ADAGN, (x, scale, shift), groups=3, epsilon=1e-6),
        "AdaGNSilu": op_model(ADAGN_SILU, (x, scale, shift), groups=3, epsilon=1e-6),
        "AdaGNGrad": op_model(ADAGN_GRAD, gradient, groups=3, epsilon=1e-6),
        "AdaGNSiluGrad": op_model(ADAGN_SILU_GRAD, gradient, groups=3, epsilon=1e-6),
        "PosteriorSample": op_model(POSTERIOR, posterior_inputs(X, dtype), **POSTERIOR_COEFFICIENTS, squash="tanh"),
        "ReverseStep": op_model(STEP, reverse_inputs("step", X, dtype)),
        "ReverseMean": op_model(MEAN, reverse_inputs("mean", X, dtype)),
        "StyleLrelu": op_model(STYLE_LRELU, style_inputs(X, dtype), alpha=0.2),
        "PhiloxNormal": op_model(PHILOX, (seed,), stream=0, shape=X[1:]),
        "PhiloxNormalAt": op_model(NORMAL_AT, (seed, np.array(0)), shape=X[1:]),
        "PhiloxInteger": op_model(INTEGER, (seed,), stream=0, shape=X[1:], below=10),
    }


@pytest.fixture(scope="module")
def library_alone(library):
    return Native(library)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_runs_instead_of_the_function_body(library_alone, tmp_path, name, dtype):
    optimized = tmp_path / "optimized.onnx"
    library_alone.session(_cases(dtype)[name], optimized_model_filepath=str(optimized))
    assert [node.op_type for node in onnx.load(optimized).graph.node] == [name]


def _state(value, shape):
    """States an input's extents: numbers, names, or None."""
    del value.type.tensor_type.shape.dim[:]
    value.type.CopyFrom(helper.make_tensor_type_proto(value.type.tensor_type.elem_type, shape))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("stated", "inferred"),
    [
        (["batch", 12, 7, 5], ["batch", 12, 7, 5]),
        ([2, 12, 7, 5], [2, 12, 7, 5]),
        ([None, 12, 7, 5], []),  # of a shape that is not known whole, nothing
    ],
)
def test_shapes_and_types_are_inferred(library_alone, name, dtype, stated, inferred):
    model = _cases(dtype)[name]
    for value in model.graph.input:
        rank = len(value.type.tensor_type.shape.dim)
        if value.name not in ("coefficients", "stream"):
            _state(value, [stated[0], 1] if value.name == "seed" else stated[:rank])
    (output,) = library_alone.session(model).get_outputs()
    assert output.shape == inferred
    kind = "int64" if name == "PhiloxInteger" else "float"
    assert output.type == f"tensor({'float16' if name.startswith(('AdaGN', 'Style')) and dtype == 'float16' else kind})"


def test_names_of_extents_are_handed_on(library_alone):
    model = _cases("float32")["AdaGN"]
    _state(model.graph.input[0], ["n", 12, "h", "w"])
    assert library_alone.session(model).get_outputs()[0].shape == ["n", 12, "h", "w"]

    model = _cases("float32")["PosteriorSample"]
    _state(model.graph.input[1], ["n", 3, "h", "w"])  # the first of which everything is known
    assert library_alone.session(model).get_outputs()[0].shape == ["n", 3, "h", "w"]


@pytest.mark.parametrize("named", [True, False])
def test_unequal_extents_do_not_share_memory(library, named):
    """Each of three outputs dies before the next, of another size, is made: ONNX Runtime may reuse memory."""
    model = _cases("float32")["AdaGN"]
    (node,) = model.graph.node
    del model.graph.node[:], model.graph.input[:], model.graph.output[:]
    style = np.random.default_rng(0).normal(size=(2, 1, 12)).astype(np.float32)
    feeds = dict(zip(("scale", "shift"), style, strict=True))
    for name in feeds:
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 12]))
    for i, shape in enumerate([(2, 12, 4, 4), (3, 12, 5, 5), (1, 12, 7, 3)]):
        feeds[f"x{i}"] = np.random.default_rng(i).normal(size=shape).astype(np.float32)
        extents = [f"n{i}", 12, f"h{i}", f"w{i}"] if named else [None, 12, None, None]
        model.graph.input.append(helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, extents))
        each = model.graph.node.add()
        each.CopyFrom(node)
        each.input[0], each.output[0], each.name = f"x{i}", f"y{i}", f"node{i}"
        model.graph.node.append(helper.make_node("ReduceSum", [f"y{i}"], [f"sum{i}"], keepdims=0))
        model.graph.output.append(helper.make_tensor_value_info(f"sum{i}", TensorProto.FLOAT, []))

    def outputs(options):
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
        return session.run(None, feeds)

    portable = outputs(onnxruntime.SessionOptions())
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(str(library))
    np.testing.assert_allclose(outputs(options), portable, rtol=1e-4, atol=1e-3)


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


def test_a_library_that_is_loaded_keeps_its_instructions(library, tmp_path, monkeypatch):
    monkeypatch.setenv("DDGAN_ISA", "generic")
    native = Native(shutil.copy(library, tmp_path / "generic.so"))
    # Loaded anew it would be refused.
    monkeypatch.setenv("DDGAN_ISA", "sse9")
    assert native.session(_cases(np.float32)["AdaGN"])


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


def test_threads_register_at_once(library):
    def opened(_):
        options = onnxruntime.SessionOptions()
        options.register_custom_ops_library(str(library))
        model = _cases("float32")["PhiloxNormal"].SerializeToString()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return session.run(None, {"seed": np.array([[7]])})[0]

    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(opened, range(32))
    for other in others:
        np.testing.assert_array_equal(other, first)
