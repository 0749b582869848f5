"""Each rewrite alone: what it matches, what it leaves, and equal outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from ddgan_deploy.export.families.ddgan import trace_generator
from ddgan_deploy.export.graph.rewrites.filters import is_filter
from ddgan_deploy.export.graph.rewrites.shared_constants import share_constants
from ddgan_deploy.export.graph.rewrites.shortcut_upsampling import hoist_shortcuts
from ddgan_deploy.export.graph.rewrites.time_bias import fold_time_biases
from ddgan_deploy.export.graph.rewrites.zero_bias import drop_zero_biases

HEADER = '<ir_version: 10, opset_import: ["" : 20]>\n'
RNG = np.random.default_rng(0)


def _graph(text: str, **weights: np.ndarray) -> ir.Model:
    model = ir.from_onnx_text(HEADER + text)
    for name, value in weights.items():
        graph_value = next((v for v in model.graph.inputs if v.name == name), None)
        assert graph_value is not None
        graph_value.const_value = ir.tensor(value, name=name)
        model.graph.inputs.remove(graph_value)
        model.graph.register_initializer(graph_value)
    return model


def _run(model: ir.Model, **feeds: np.ndarray) -> np.ndarray:
    proto = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(proto, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def _conv(op_between: str = "y = Add (h, t)") -> ir.Model:
    return _graph(
        "g (float[n,3,8,8] x, float[4,3,3,3] w, float[4] b, float[1,4,1,1] t) => (float[n,4,8,8] y)"
        f" {{ h = Conv <pads = [1,1,1,1]> (x, w, b) {op_between} }}",
        w=RNG.normal(size=(4, 3, 3, 3)).astype(np.float32),
        b=RNG.normal(size=4).astype(np.float32),
        t=RNG.normal(size=(1, 4, 1, 1)).astype(np.float32),
    )


def test_time_bias_joins_the_convolution():
    model = _conv()
    x = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)
    before = _run(model, x=x)
    assert fold_time_biases(model.graph) == 1
    assert [node.op_type for node in model.graph] == ["Conv"]
    np.testing.assert_allclose(_run(model, x=x), before, atol=1e-6)


def test_time_bias_leaves_a_convolution_that_is_used_twice():
    model = _conv("s = Add (h, t) y = Mul (s, h)")
    assert fold_time_biases(model.graph) == 0


def test_time_bias_leaves_a_sum_of_two_values():
    model = _conv("y = Add (h, h)")
    assert fold_time_biases(model.graph) == 0


@pytest.mark.parametrize(("bias", "count"), [(0.0, 1), (0.5, 0)])
def test_zero_bias_is_dropped_and_others_stay(bias, count):
    model = _graph(
        "g (float[n,3,8,8] x, float[3,1,4,4] w, float[3] b) => (float[n,3,4,4] y)"
        " { y = Conv <pads = [1,1,1,1], strides = [2,2], group = 3> (x, w, b) }",
        w=RNG.normal(size=(3, 1, 4, 4)).astype(np.float32),
        b=np.full(3, bias, np.float32),
    )
    x = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)
    before = _run(model, x=x)
    assert drop_zero_biases(model.graph) == count
    np.testing.assert_array_equal(_run(model, x=x), before)


def test_the_traced_step_is_clean(biggan):
    """Nothing of the exporter's bookkeeping is left: counts follow from the architecture."""
    step = trace_generator(biggan.load().generator()).step.graph
    kinds = {node.op_type for node in step}
    assert kinds == {
        "Conv", "ConvTranspose", "AdaGN", "AdaGNSilu", "Add", "Mul", "MatMul", "Softmax", "Reshape", "Split",
        "Transpose", "Concat",
    }  # fmt: skip
    filters = [node for node in step if is_filter(node)]
    # Each of the two resampling blocks filters x and h, the pyramid the image.
    assert len(filters) == 2 * 2 + 1
    assert all(len([i for i in node.inputs if i is not None]) == 2 for node in filters)
    # Queries, keys and values of the three attentions by one product each, and one after them.
    pointwise = [n for n in step if n.op_type == "Conv" and n.inputs[1].const_value.shape[2] == 1]
    outputs = [n.inputs[1].const_value.shape[0] // n.inputs[1].const_value.shape[1] for n in pointwise]
    assert outputs.count(3) == 3


def _constants(*values: np.ndarray) -> ir.Model:
    """Constants added to one input, in a row."""
    names = [f"c{i}" for i in range(len(values))]
    kinds = {"float32": "float", "float16": "float16", "int64": "int64", "int32": "int32"}
    inputs = ", ".join(
        f"{kinds[v.dtype.name]}[{','.join(map(str, v.shape))}] {n}" for n, v in zip(names, values, strict=True)
    )
    sums = " ".join(f"y{i} = Cast <to = 1> ({name})" for i, name in enumerate(names))
    outputs = ", ".join(f"float[{','.join(map(str, v.shape))}] y{i}" for i, v in enumerate(values))
    return _graph(f"g ({inputs}) => ({outputs}) {{ {sums} }}", **dict(zip(names, values, strict=True)))


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([np.array([1, 2]), np.array([1, 2]), np.array([1, 2])], 2),
        ([np.array([1, 2]), np.array([1, 3])], 0),
        ([np.array([1, 2]), np.array([[1, 2]])], 0),
        ([np.array([1, 2]), np.array([1, 2], np.int32)], 0),
        ([np.array([0], np.int32), np.array([0], np.float32)], 0),
        ([np.array(0.5, np.float32), np.array(0.5, np.float32)], 1),
        # Trained values, or computed from them: equal by chance, as no training can be told.
        ([np.ones(4, np.float32), np.ones(4, np.float32)], 0),
        ([np.ones(1, np.float32), np.ones(1, np.float32)], 0),
    ],
)
def test_equal_constants_are_shared_and_trained_values_are_not(values, count):
    model = _constants(*values)
    before = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(None, {})
    assert share_constants(model.graph) == count
    assert len(model.graph.initializers) == len(values) - count
    after = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(None, {})
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_zero_bias_of_a_convolution_with_weights_stays():
    """It is zero before any training, and would be another graph after it."""
    model = _conv("y = Identity (h)")
    model.graph.initializers["b"].const_value = ir.tensor(np.zeros(4, np.float32), name="b")
    assert drop_zero_biases(model.graph) == 0
    assert len(next(node for node in model.graph if node.op_type == "Conv").inputs) == 3


def test_the_form_of_the_graph_follows_from_the_architecture(biggan):
    """Weights that are zero, and so equal, give the nodes and weights of the trained ones."""
    checkpoint = biggan.load()
    zero = replace(checkpoint, weights={name: 0 * weight for name, weight in checkpoint.weights.items()})
    forms = []
    for made in (checkpoint, zero):
        graph = trace_generator(made.generator()).step.graph
        nodes = [(node.op_type, node.name, len(node.inputs)) for node in graph]
        weights = [(name, tuple(value.const_value.shape)) for name, value in graph.initializers.items()]
        forms.append((nodes, weights))
    assert forms[0] == forms[1]


def _upsampled(
    up: str, *, outputs: int = 4, kernel: int = 1, pad: int = 0, same_filter: bool = True, result: str = ""
) -> ir.Model:
    """Up-sampling, then a convolution."""
    taps = RNG.normal(size=(4, 1, 4, 4)).astype(np.float32)
    weights = {"f": np.repeat(taps[:1], 4, axis=0) if same_filter else taps} if "f)" in up else {}
    filters = "float[4,1,4,4] f, " if weights else ""
    return _graph(
        f"g (float[n,4,5,6] x, {filters}float[{outputs},4,{kernel},{kernel}] w, float[{outputs}] b)"
        f" => (float[n,c,h,w] y) {{ {up} r = Conv <pads = [{pad},{pad},{pad},{pad}]> (u, w, b)"
        f" {result or 'y = Identity (r)'} }}",
        w=RNG.normal(size=(outputs, 4, kernel, kernel)).astype(np.float32),
        b=RNG.normal(size=outputs).astype(np.float32),
        **weights,
    )


FIR = "u = ConvTranspose <group = 4, pads = [1,1,1,1], strides = [2,2]> (x, f)"
NEAREST = (
    "s = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> ()"
    ' u = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (x, , s)'
)
LINEAR = NEAREST.replace('"nearest"', '"linear"')


@pytest.mark.parametrize("up", [FIR, NEAREST], ids=["fir", "nearest"])
def test_a_pointwise_convolution_runs_before_the_upsampling(up):
    model = _upsampled(up)
    x = RNG.normal(size=(2, 4, 5, 6)).astype(np.float32)
    before = _run(model, x=x)
    assert hoist_shortcuts(model.graph) == 1
    conv, *rest = [node for node in model.graph if node.op_type != "Constant"]
    assert conv.op_type == "Conv" and conv.inputs[0].name == "x"
    assert [node.op_type for node in rest] == ["ConvTranspose" if up == FIR else "Resize", "Identity"]
    np.testing.assert_allclose(_run(model, x=x), before, atol=1e-5)


@pytest.mark.parametrize(
    ("up", "changes"),
    [
        pytest.param(FIR, {"outputs": 3}, id="other channels"),
        pytest.param(FIR, {"kernel": 3}, id="not pointwise"),
        pytest.param(FIR, {"pad": 1}, id="padded"),
        pytest.param(FIR, {"same_filter": False}, id="a filter a channel"),
        pytest.param(FIR, {"result": "y = Add (r, u)"}, id="read twice"),
        pytest.param(LINEAR, {}, id="interpolated"),
        pytest.param("u = Upsampled (x)", {}, id="unknown"),
    ],
)
def test_what_does_not_commute_with_upsampling_stays(up, changes):
    model = _upsampled(up, **changes)
    assert hoist_shortcuts(model.graph) == 0
