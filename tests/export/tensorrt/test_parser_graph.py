"""The form of a graph that TensorRT's parser takes: what stays a node, what becomes its body, and equal results."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from onnx import numpy_helper

from ddgan_deploy.artifact.manifest import SAMPLER, SERVED
from ddgan_deploy.errors import GateError
from ddgan_deploy.export.tensorrt.parser_graph import parser_model
from ddgan_deploy.kernels.adagn.launches import chunk_pixels, single_launch
from ddgan_deploy.kernels.adagn.spec import ADAGN_SILU
from ddgan_deploy.kernels.adagn_grad.spec import ADAGN_SILU_GRAD
from ddgan_deploy.kernels.launch import NCHW, NHWC
from tests.conftest import DATA, golden_case

NAMES = ("no_fir_t2", "biggan_oneadagn")
OLDER = DATA / "format1" / "artifact"
LAYOUTS = {"fp32": NCHW, "fp16": NHWC}


@pytest.fixture(scope="module", params=[("no_fir_t2", "fp32"), ("no_fir_t2", "fp16"), ("biggan_oneadagn", "fp32")])
def exported(request, exports):
    name, precision = request.param
    return exports.golden(golden_case(name), precision)


def loaded(path: Path, kernels: str, precision: str) -> onnx.ModelProto:
    return onnx.load_from_string(parser_model(path, kernels, precision).proto)


def attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def kinds(graph: onnx.GraphProto) -> Counter[str]:
    return Counter(node.op_type for node in graph.node)


# Fused: every op stays a node


@pytest.mark.parametrize("name", [SAMPLER, SERVED])
def test_fused_keeps_every_node(exported, name):
    precision = exported.manifest.precision
    before = onnx.load(exported.path / name, load_external_data=False)
    model = parser_model(exported.path / name, "fused", precision)
    after = onnx.load_from_string(model.proto)
    expected, found = kinds(before.graph), kinds(after.graph)
    split = found["AdaGNStats"]
    assert split == found["AdaGNApply"] + found["AdaGNSiluApply"]
    for op in ("AdaGN", "AdaGNSilu"):
        assert found[op] + found[f"{op}Apply"] == expected[op] > 0
    ours = ("AdaGN", "AdaGNSilu", "AdaGNStats", "AdaGNApply", "AdaGNSiluApply")
    for counts in (expected, found):
        for op in ours:
            counts.pop(op, None)
    assert found == expected and found["ReverseStep"] == exported.manifest.steps - 1
    assert not after.functions and all(not node.overload for node in after.graph.node)
    fused = [node for node in after.graph.node if node.domain == "ddgan"]
    assert all(attributes(node)["plugin_namespace"] == b"ddgan" for node in fused)
    assert model.plugins == Counter(node.op_type for node in fused)
    assert [value.name for value in after.graph.input] == [value.name for value in before.graph.input]
    assert [value.name for value in after.graph.output] == [value.name for value in before.graph.output]
    names = [node.name for node in after.graph.node]
    assert all(names) and len(set(names)) == len(names)
    # Weights stay in their file.
    assert len(model.proto) < 400_000 < (exported.path / "weights.bin").stat().st_size


def test_fused_splits_what_one_launch_does_not_serve(exported):
    precision = exported.manifest.precision
    before = onnx.shape_inference.infer_shapes(
        onnx.load(exported.path / SAMPLER, load_external_data=False), data_prop=True
    )
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*before.graph.value_info, *before.graph.input)
    }
    nodes = {node.name: node for node in loaded(exported.path / SAMPLER, "fused", precision).graph.node}
    counts = Counter()
    for node in before.graph.node:
        if node.op_type not in ("AdaGN", "AdaGNSilu"):
            continue
        _, channels, height, width = shapes[node.input[0]]
        groups = attributes(node)["groups"]
        single = single_launch(LAYOUTS[precision], channels, height * width, groups)
        counts[single] += 1
        assert (node.name in nodes) == single
        assert (f"{node.name}/Stats" in nodes) == (f"{node.name}/Apply" in nodes) == (not single)
        if single:
            assert attributes(nodes[node.name]) == attributes(node)
    # 4 channels a group and 32 x 32 pixels fit into one program below each other, not side by side.
    assert counts[False] == 0 if precision == "fp32" else counts[False] > 0 and counts[True] > 0


def adagn_model(folder: Path, channels: int, size: tuple[int, int], groups: int) -> Path:
    """A model of one AdaGNSilu whose images have a size."""
    float32 = onnx.TensorProto.FLOAT
    made = ADAGN_SILU.model([(float32, 4), (float32, 2), (float32, 2)], groups=groups, epsilon=2e-5)
    extents = [(channels, *size), (channels,), (channels,)]
    for value, extent in zip(made.graph.input, extents, strict=True):
        first, *rest = value.type.tensor_type.shape.dim
        first.dim_param = "batch"
        for dim, number in zip(rest, extent, strict=True):
            dim.dim_value = number
    made.graph.node[0].name = "one/AdaGN"
    made.graph.output[0].CopyFrom(made.graph.input[0])
    made.graph.output[0].name = "y"
    onnx.save(made, folder / "one.onnx")
    return folder / "one.onnx"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    ("channels", "size", "groups"),
    [
        (16, (32, 32), 4),
        (16, (16, 16), 4),
        (64, (64, 64), 16),
        (64, (128, 128), 16),
        (256, (64, 64), 32),
        (512, (8, 8), 32),
        (12, (7, 9), 3),
        (32, (256, 256), 8),
    ],
)
def test_the_layout_decides_which_are_split(tmp_path, channels, size, groups, precision):
    pixels = size[0] * size[1]
    path = adagn_model(tmp_path, channels, size, groups)
    model = parser_model(path, "fused", precision)
    graph = onnx.load_from_string(model.proto).graph
    if single_launch(LAYOUTS[precision], channels, pixels, groups):
        (node,) = graph.node
        assert node.op_type == "AdaGNSilu" and model.plugins == {"AdaGNSilu": 1}
        return
    stats, apply = graph.node
    assert model.plugins == {"AdaGNStats": 1, "AdaGNSiluApply": 1}
    assert (stats.op_type, stats.name, list(stats.input)) == ("AdaGNStats", "one/AdaGN/Stats", ["x"])
    assert (apply.op_type, apply.name) == ("AdaGNSiluApply", "one/AdaGN/Apply")
    assert list(apply.input) == ["x", stats.output[0], "scale", "shift"] and list(apply.output) == ["y"]
    common = {"groups": groups, "chunk_pixels": chunk_pixels(pixels), "plugin_namespace": b"ddgan"}
    assert attributes(stats) == common
    applied = attributes(apply)
    assert applied.pop("epsilon") == pytest.approx(2e-5)
    assert applied == common


def gradient_model(size: int) -> onnx.ModelProto:
    """An AdaGN and its gradient, of one x."""
    model = onnx.parser.parse_model(f"""
        <ir_version: 9, opset_import: ["" : 20, "ddgan" : 1]>
        g (float16[n, 64, {size}, {size}] x, float16[n, 64] s) => (float16[n, 64, {size}, {size}] dx) {{
            y = ddgan.AdaGNSilu <groups = 16, plugin_namespace = "ddgan", epsilon = 1e-05> (x, s, s)
            dx = ddgan.AdaGNSiluGrad <groups = 16, plugin_namespace = "ddgan", epsilon = 1e-05> (y, x, s, s)
        }}""")
    for node, name in zip(model.graph.node, ("norm", "back"), strict=True):
        node.name = name
    model.functions.extend(spec.function() for spec in (ADAGN_SILU, ADAGN_SILU_GRAD))
    return model


def test_a_gradient_is_split_and_shares_the_statistics(tmp_path):
    for size, ops in (
        (16, ["AdaGNSilu", "AdaGNSiluGrad"]),
        (64, ["AdaGNStats", "AdaGNSiluApply", "AdaGNSiluGradSums", "AdaGNSiluGradApply"]),
    ):
        onnx.save(gradient_model(size), tmp_path / "gradient.onnx")
        graph = loaded(tmp_path / "gradient.onnx", "fused", "fp16").graph
        assert [node.op_type for node in graph.node] == ops
    _, norm, sums, back = graph.node
    assert (sums.name, back.name) == ("back/Sums", "back/Apply")
    assert list(norm.input) == ["x", "norm/partials", "s", "s"]
    assert list(sums.input) == ["y", "x", "norm/partials", "s", "s"]
    assert list(back.input) == ["y", "x", "norm/partials", "back/sums", "s", "s"] and list(back.output) == ["dx"]
    told = {"groups": 16, "chunk_pixels": chunk_pixels(64 * 64), "plugin_namespace": b"ddgan"}
    for node in (sums, back):
        assert attributes(node) == {**told, "epsilon": pytest.approx(1e-5)}


def test_layouts_differ_somewhere(tmp_path):
    """Or the test above would not see that the wrong one is asked."""
    assert single_launch(NCHW, 16, 1024, 4) and not single_launch(NHWC, 16, 1024, 4)
    assert not single_launch(NCHW, 64, 64 * 64 * 4, 16)


# Files of before


def test_an_older_graph_gets_the_ops_of_today():
    fused = loaded(OLDER / SAMPLER, "fused", "fp32")
    ours = Counter(node.op_type for node in fused.graph.node if node.domain == "ddgan")
    assert ours == {"AdaGN": 9, "AdaGNSilu": 63, "ReverseStep": 2}
    assert not any("activation" in attributes(node) for node in fused.graph.node)


def test_an_older_graph_computes_the_same_by_its_bodies():
    proto = loaded(OLDER / SAMPLER, "portable", "fp32")
    onnx.load_external_data_for_model(proto, str(OLDER))
    assert not any(node.domain for node in proto.graph.node)
    rng = np.random.default_rng(0)
    inputs = {
        value.name: rng.normal(size=[2, *(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])])
        for value in proto.graph.input
    }
    inputs = {name: value.astype(np.float32) for name, value in inputs.items()}
    np.testing.assert_allclose(_run(proto, inputs), _run(onnx.load(OLDER / SAMPLER), inputs), rtol=0, atol=1e-5)


# Portable: bodies instead of calls


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_weights_in_the_weights_file_are_left_alone(tmp_path, capsys, dtype):
    """Folding would look for their values, in vain and aloud."""
    path = adagn_model(tmp_path, 256, (8, 8), 32)
    model = onnx.load(path)
    for name in ("scale", "shift"):
        value = next(value for value in model.graph.input if value.name == name)
        model.graph.input.remove(value)
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 256), dtype), name))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=256)
    assert (tmp_path / "weights.bin").is_file()
    graph = onnx.load_from_string(parser_model(path, "portable", "fp32").proto).graph
    assert {"scale", "shift"} <= {tensor.name for tensor in graph.initializer}
    assert capsys.readouterr() == ("", "")


def test_portable_has_no_op_of_ours_but_noise(exported):
    precision = exported.manifest.precision
    for name, expected in ((SAMPLER, {}), (SERVED, {"PhiloxNormal": 2 * exported.manifest.steps})):
        model = parser_model(exported.path / name, "portable", precision)
        proto = onnx.load_from_string(model.proto)
        ours = Counter(node.op_type for node in proto.graph.node if node.domain == "ddgan")
        assert ours == model.plugins == expected
        assert not proto.functions and all(not node.overload for node in proto.graph.node)


def test_portable_computes_the_same(exported):
    golden = golden_case("no_fir_t2" if exported.manifest.steps == 2 else "biggan_oneadagn")
    inputs = golden.inputs
    honest = _run(onnx.load(exported.path / SAMPLER), inputs)
    proto = loaded(exported.path / SAMPLER, "portable", exported.manifest.precision)
    onnx.load_external_data_for_model(proto, str(exported.path))
    x_0 = _run(proto, inputs)
    if exported.manifest.precision == "fp32":
        np.testing.assert_allclose(x_0, honest, rtol=0, atol=1e-5)
        np.testing.assert_allclose(x_0, golden.io["x_prev"][-1], rtol=0, atol=1e-4)
    else:
        np.testing.assert_allclose(x_0, honest, rtol=0, atol=0.05)


def _run(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def test_portable_nodes_tell_their_call(exported):
    calls = [node for node in onnx.load(exported.path / SAMPLER, load_external_data=False).graph.node]
    graph = loaded(exported.path / SAMPLER, "portable", exported.manifest.precision).graph
    names = [node.name for node in graph.node]
    assert all(names) and len(set(names)) == len(names)
    inlined = {call.name for call in calls if call.domain == "ddgan"}
    assert inlined
    for call in calls:
        if call.domain != "ddgan":
            continue
        # Of the body; the last of its nodes may be gone where it changed no type.
        parts = {name.removeprefix(f"{call.name}/") for name in names if name.startswith(f"{call.name}/")}
        assert "normalized_groups" in parts if call.op_type == "AdaGN" else parts, call.name
    for name in names:
        owner = re.sub(r"/[^/]*$", "", name)
        assert name in {call.name for call in calls} or owner in inlined, name


def test_portable_sampler_computes_no_shapes(exported):
    graph = loaded(exported.path / SAMPLER, "portable", exported.manifest.precision).graph
    assert "Shape" not in kinds(graph)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    reshapes = [node for node in graph.node if node.op_type == "Reshape"]
    assert reshapes
    for node in reshapes:
        target = numpy_helper.to_array(constants[node.input[1]])
        assert target[0] in (-1, 0) and (target[1:] != 0).all(), node.name


@pytest.mark.parametrize("kernels", ["fused", "portable"])
def test_the_graph_keeps_its_signature(exported, kernels):
    for name in (SAMPLER, SERVED):
        before = onnx.load(exported.path / name, load_external_data=False).graph
        after = loaded(exported.path / name, kernels, exported.manifest.precision).graph
        assert list(after.input) == list(before.input) and list(after.output) == list(before.output)


@pytest.mark.parametrize("kernels", ["fused", "portable"])
def test_a_file_that_is_not_valid(tmp_path, kernels):
    path = adagn_model(tmp_path, 16, (8, 8), 4)
    model = onnx.load(path)
    model.graph.node[0].input[0] = "nowhere"
    onnx.save(model, path)
    with pytest.raises(GateError, match=r"one.onnx is not valid ONNX: .*nowhere") as caught:
        parser_model(path, kernels, "fp32")
    assert "\n" not in str(caught.value)
