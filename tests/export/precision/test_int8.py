"""int8: what is quantized, with which scales, what is left out, and that the gates see what is wrong."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from ddgan_deploy.artifact.manifest import SAMPLER, SERVED, WEIGHTS, Artifact
from ddgan_deploy.artifact.reading import file_infos, read_artifact
from ddgan_deploy.artifact.results import KeptLayer
from ddgan_deploy.engines import open_artifact, openvino
from ddgan_deploy.engines.onnxruntime import native_graph
from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime
from ddgan_deploy.engines.tensorrt.plan import RTX_PLAN, BatchProfile
from ddgan_deploy.errors import InputError
from ddgan_deploy.export import cli, pipeline
from ddgan_deploy.export.options import ExportOptions
from ddgan_deploy.export.pipeline import build_graphs
from ddgan_deploy.export.precision.int8 import Calibration
from ddgan_deploy.export.precision.int8 import quantize as quantize_module
from ddgan_deploy.export.precision.int8.qdq import scale_and_zero
from ddgan_deploy.export.precision.int8.quantize import choose_kept
from ddgan_deploy.export.precision.int8.switchboard import Switchboard
from ddgan_deploy.export.precision.int8.symmetry import is_symmetric
from ddgan_deploy.export.precision.ranges import Range
from ddgan_deploy.export.recipe import Recipe
from ddgan_deploy.export.refit import RefitOptions, refit
from ddgan_deploy.export.tensorrt.engines import build_engines
from ddgan_deploy.export.tensorrt.options import EngineOptions
from ddgan_deploy.export.tensorrt.parser_graph import parser_model
from ddgan_deploy.families.ddgan.family import FAMILY
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.parity.comparison import psnr
from ddgan_deploy.parity.verify import trial, verify
from ddgan_deploy.progress import Clock
from tests.conftest import CASES, golden_case
from tests.export.conftest import export_golden
from tests.trajectories import published, traced

SMALLEST = "no_fir_t2"
LAYERS = {"gray_t8": (36, 4), "no_fir_t2": (35, 4)}
"""Case -> convolutions that are no filters, of one channel neither, and matrix products of the latent."""


def graphs(name: str, folder: Path, kept: list[str] | None = None, engine: str = "none") -> Artifact:
    """An int8 artifact's graphs alone; ``kept``: the layers left out, None: as they are chosen."""
    golden = golden_case(name)
    checkpoint = golden.load()
    kept_too = None if kept is None else [KeptLayer(layer, "") for layer in kept]
    sampling = checkpoint.choose(golden.steps)
    recipe = Recipe(checkpoint, sampling, "int8", symmetric=engine != "none", kept=kept_too)
    manifest = build_graphs(folder, recipe, Clock())
    return Artifact(folder, manifest)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A whole export, with the layers that it left out."""
    return export_golden(golden_case(SMALLEST), tmp_path_factory.mktemp("int8"), int8=True).artifact


def loaded(folder: Path, name: str = SAMPLER) -> onnx.GraphProto:
    return onnx.load(folder / name, load_external_data=False).graph


def constants(folder: Path, name: str = SAMPLER) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(folder / name).graph.initializer}


# The graph


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_of_golden_cases(name, tmp_path):
    """Nothing left out: one pair an input and step, one DequantizeLinear a weight, shared by all steps."""
    artifact, (convolutions, products) = graphs(name, tmp_path, kept=[]), LAYERS[name]
    for file in (SAMPLER, SERVED):
        graph = loaded(tmp_path, file)
        made = {output: node for node in graph.node for output in node.output}
        types = {tensor.name: tensor.data_type for tensor in graph.initializer}
        quantized = [
            node for node in graph.node if node.op_type in ("Conv", "MatMul") and _from(made, node, 1) is not None
        ]
        kinds = Counter(node.op_type for node in quantized)
        assert kinds == {"Conv": convolutions * CASES[name], "MatMul": products}
        weights = {node.input[1] for node in quantized}
        assert len(weights) == convolutions + products
        for weight in weights:
            assert types[made[weight].input[0]] == TensorProto.INT8
        inputs = {node.input[0] for node in quantized if node.op_type == "Conv"}
        assert all(made[x].op_type == "DequantizeLinear" for x in inputs)
        assert {made[made[x].input[0]].op_type for x in inputs} == {"QuantizeLinear"}
        counts = Counter(node.op_type for node in graph.node)
        assert counts["QuantizeLinear"] == len(inputs)
        assert counts["DequantizeLinear"] == len(inputs) + len(weights)
    assert artifact.manifest.precision == "int8" and artifact.manifest.kept_fp32 == ()


def _from(made: dict[str, onnx.NodeProto], node: onnx.NodeProto, position: int) -> onnx.NodeProto | None:
    """The DequantizeLinear behind an input."""
    source = made.get(node.input[position])
    return source if source is not None and source.op_type == "DequantizeLinear" else None


def test_too_many_copies_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pipeline, "_MOST_INT8_NODES", 260)
    assert cli.main(["--demo", "--int8", "--engine", "none", "--out", str(tmp_path / "made")]) == 2
    said = capsys.readouterr().err
    assert "--int8 has a copy of every step, and 4 of these are 521 nodes" in said and "give at most --steps 1" in said
    assert not list(tmp_path.iterdir())


def test_weights_are_stored_once_as_bytes(exported):
    """A fourth, but for biases, scales and the layers left out."""
    folder, manifest = exported.path, exported.manifest
    parameters = manifest.checkpoint.parameters
    kept = {layer.layer for layer in manifest.kept_fp32}
    assert kept
    assert 0.8 * parameters < (folder / WEIGHTS).stat().st_size < 1.25 * parameters
    int8 = [tensor for tensor in loaded(folder).initializer if tensor.data_type == TensorProto.INT8]
    assert len(int8) == sum(LAYERS[SMALLEST]) - len(kept)
    large = [tensor for tensor in int8 if np.prod(tensor.dims) > 256]
    assert large and all(tensor.data_location == TensorProto.EXTERNAL for tensor in large)


def test_each_step_has_its_own_scale(exported):
    graph, values = loaded(exported.path), constants(exported.path)
    scales: dict[str, list[float]] = {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            layer = node.name.partition("/")[2] if node.name.startswith("step") else "x_T"
            scales.setdefault(layer, []).append(float(values[node.input[1]]))
    several = [found for found in scales.values() if len(found) > 1]
    assert len(several) > 20 and all(len(found) == CASES[SMALLEST] for found in several)
    assert sum(len(set(found)) > 1 for found in several) > 0.9 * len(several)


def test_weights_have_a_scale_an_output_channel(exported):
    values = constants(exported.path)
    convolutions = {
        name: integers for name, integers in values.items() if integers.ndim == 4 and name.endswith(".int8")
    }
    assert len(convolutions) > 20
    for name, integers in convolutions.items():
        scale = values[f"{name.removesuffix('.int8')}.scale"]
        assert scale.shape == (len(integers),) and len(set(scale.tolist())) > 1
        # Every channel uses all of its levels.
        assert np.all(np.abs(integers).max(axis=(1, 2, 3)) == 127)


@pytest.mark.parametrize(
    ("measured", "symmetric", "scale", "zero"),
    [
        pytest.param(Range(-1.0, 4.1), False, 0.02, 50, id="zero-point"),
        pytest.param(Range(1.0, 5.1), False, 0.02, 0, id="positive"),
        pytest.param(Range(-5.1, -1.0), False, 0.02, 255, id="negative"),
        pytest.param(Range(-1.0, 2.54), True, 0.02, 0, id="symmetric"),
        pytest.param(Range(-2.54, 1.0), True, 0.02, 0, id="symmetric-below"),
        pytest.param(Range(0.0, 0.0), False, 1.0, 0, id="always-zero"),
        pytest.param(Range(0.0, 0.0), True, 1.0, 0, id="symmetric-always-zero"),
    ],
)
def test_scales_span_the_range_and_zero(measured, symmetric, scale, zero):
    s, z = scale_and_zero(measured, symmetric)
    assert s.dtype == np.float32 and z.dtype == (np.int8 if symmetric else np.uint8)
    assert float(s) == pytest.approx(scale) and int(z) == zero


def test_calibration_is_not_on_the_seeds_of_the_gates():
    checkpoint = golden_case(SMALLEST).load()
    sampler = checkpoint.family.sampler(checkpoint.model, checkpoint.choose(2))
    calibration = Calibration.of(sampler)
    assert (len(calibration.ranges["x_T"]), len(calibration.errors["x_T"])) == (16, 2)
    x_T, *others = sampler.draws
    large = dataclasses.replace(
        sampler, image=(3, 256, 256), draws=(dataclasses.replace(x_T, shape=(3, 256, 256)), *others)
    )
    calibration = Calibration.of(large)
    assert (len(calibration.ranges["x_T"]), len(calibration.errors["x_T"])) == (2, 1)


def test_the_same_export_twice_is_the_same_bytes(exported, tmp_path):
    again = graphs(SMALLEST, tmp_path)
    assert again.manifest.kept_fp32 == exported.manifest.kept_fp32
    for name in (SAMPLER, SERVED, WEIGHTS):
        assert (tmp_path / name).read_bytes() == (exported.path / name).read_bytes()


# What is left out


def test_what_is_left_out_is_listed_and_float(exported):
    manifest = exported.manifest
    report = (exported.path / "report.html").read_text(encoding="utf-8")
    weights = {node.name.split("/")[-1]: node.input[1] for node in loaded(exported.path).node if node.op_type == "Conv"}
    stored = {tensor.name for tensor in loaded(exported.path).initializer}
    for kept in manifest.kept_fp32:
        assert f"<code>{kept.layer}</code>" in report and kept.reason in report
        if kept.layer in weights:
            assert weights[kept.layer] in stored and f"{weights[kept.layer]}.int8" not in stored


class Board:
    """Gates that hold by a number of dB: what is left over of 10 once every layer took its error away."""

    def __init__(self, errors: dict[str, float]) -> None:
        self.layers = tuple(quantize_module.Layer(name, (), 10 if name == "large" else 1) for name in errors)
        self._errors = errors

    def errors(self, quantized):
        return np.array([self._errors[name] for name in quantized])

    def headroom(self, quantized):
        return 10 - sum(self._errors[name] for name in quantized)


def test_the_fewest_are_left_out_that_err_most_for_their_work():
    # 14 in all, where 9 are allowed: "b" alone is not enough, and "large" errs less for its work than "a".
    board = Board({"a": 2.0, "large": 6.0, "b": 4.0, "c": 1.0, "d": 1.0})
    assert [layer.layer for layer in choose_kept(board)] == ["b", "a"]
    assert choose_kept(Board({"a": 4.0, "b": 5.0})) == []
    assert len(choose_kept(Board({"a": 99.0, "b": 99.0}))) == 2


# The gates


def test_layers_are_judged_in_the_scale_of_what_the_sampler_makes():
    """An error of a hundredth of values of 200: 46 dB, whose gates are at 30 and 40."""
    signs = np.where(np.random.default_rng(0).random((2, 3, 8, 8)) < 0.5, -200, 200).astype(np.float32)
    board = Switchboard.__new__(Switchboard)
    board._probes = FAMILY.probes(golden_case(SMALLEST).load().model, Schedule(2))
    board._reference = [signs] * len(board._probes)
    board._run = lambda quantized, on_true_states, rows=slice(None): [signs[rows] + 2] * len(board._probes)
    assert board.errors(["a"]) == pytest.approx([1e-4, 1e-4])
    assert board.headroom(["a"]) == pytest.approx(6.02, abs=0.01)


def test_the_gates_hold_for_what_was_chosen(exported):
    parity = exported.manifest.parity
    assert parity is not None and parity.passed
    limits = {gate.name: (gate.limit, gate.unit) for gate in parity.gates}
    assert limits["step 0 (t=1) x0"] == (30, "dB") and limits["step 0 (t=1) x_prev"] == (40, "dB")
    assert limits["x_0 of the file as it is"] == limits["step 1 (t=0) x_0"] == (40, "dB")
    # int8 is not float: what is this good was not rounded.
    assert all(row.psnr < 60 for row in parity.probes if row.column == "x0")


@pytest.mark.parametrize("exact", [True, False])
def test_openvino_multiplies_bytes_where_that_is_exact(exported, monkeypatch, exact):
    """Where two products are added in 16 bits, which saturate, it computes in float, and the image is the file's."""
    monkeypatch.setattr(openvino, "has_exact_int8", lambda: exact)
    inputs = trial(exported.manifest.sampler, [5]).inputs
    with open_artifact(exported.path, "openvino-f32") as engine:
        kinds = {time.op_type.rpartition("_")[2] for time in engine.profile(inputs) if "Convolution" in time.op_type}
        x_0 = engine.sample(inputs)
    assert ({"I8", "i8"} & kinds != set()) == exact, kinds
    if not exact:
        with open_artifact(exported.path, "onnxruntime-portable") as portable:
            assert psnr(portable.sample(inputs), x_0, 1.0) > 40


def broken(artifact: Artifact, folder: Path, factor: float, which: str) -> Artifact:
    """The artifact with one activation's scale, or one weight's, changed."""
    copy = Path(shutil.copytree(artifact.path, folder / "broken"))
    model = onnx.load(copy / SAMPLER, load_external_data=False)
    names = {
        "activation": "step1/all_modules.9.GroupNorm_1/QuantizeLinear",
        "weight": "all_modules.9.Conv_1.weight/DequantizeLinear",
    }
    (node,) = (node for node in model.graph.node if node.name == names[which])
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    changed = numpy_helper.to_array(tensor, str(copy)) * np.float32(factor)
    tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    onnx.save(model, copy / SAMPLER)
    return Artifact(copy, artifact.manifest)


@pytest.mark.parametrize("which", ["activation", "weight"])
def test_a_scale_that_is_wrong_fails(exported, tmp_path, which):
    checkpoint = golden_case(SMALLEST).load()
    assert verify(checkpoint, OnnxRuntime(exported), seeds=[0, 1]).result.passed
    result = verify(checkpoint, OnnxRuntime(broken(exported, tmp_path, 0.1, which)), seeds=[0, 1]).result
    assert not result.passed
    first = result.failures[0]
    assert first.name.startswith("step 1" if which == "activation" else "step ") and first.unit == "dB"
    # The step's own state was true, so that only what is wrong shows.
    if which == "activation":
        assert all(gate.passed for gate in result.gates if gate.name.startswith("step 0"))


def test_each_step_starts_from_the_state_it_is_given(biggan, biggan_fp32):
    """Of a float artifact it is the trajectory itself; from other states each step but the first goes elsewhere."""
    engine, golden, generator = OnnxRuntime(biggan_fp32), biggan, biggan.load().generator()
    inputs = golden.inputs
    reference = published(generator, Schedule(4), inputs)
    same = traced(engine, inputs, reference.x_prev[:-1])
    assert np.abs(same.x_prev - reference.x_prev).max() < 1e-4
    states = reference.x_prev[:-1].copy()
    states[1] += 1
    other = traced(engine, inputs, states)
    apart = np.abs(other.x0 - reference.x0).reshape(len(other.x0), -1).max(axis=1)
    assert apart[2] > 1e-2 and np.all(np.delete(apart, 2) < 1e-4)


# What it does not go with


def test_one_precision_alone(tmp_path, capsys):
    golden = golden_case(SMALLEST)
    argv = ["--ckpt", str(golden.path), "--steps", "2", "--int8", "--fp16", "--out", str(tmp_path / "out")]
    assert cli.main(argv) == 2
    assert capsys.readouterr().err == "error: --int8 does not go with --fp16: give one of them\n"
    assert ExportOptions(Path("netG_7.pth"), 4, int8=True).target == Path("netG_7-T4-int8")


# TensorRT


@pytest.fixture(scope="module")
def symmetric(tmp_path_factory):
    return graphs(SMALLEST, tmp_path_factory.mktemp("symmetric"), kept=[], engine="tensorrt-rtx")


def test_for_tensorrt_every_zero_point_is_zero(symmetric, exported):
    assert is_symmetric(symmetric.path / SAMPLER) and not is_symmetric(exported.path / SAMPLER)
    values = constants(symmetric.path)
    pairs = [node for node in loaded(symmetric.path).node if node.op_type == "QuantizeLinear"]
    assert pairs and all(values[node.input[2]].dtype == np.int8 and values[node.input[2]] == 0 for node in pairs)


@pytest.mark.parametrize("kernels", ["fused", "portable"])
def test_tensorrt_gets_every_pair(symmetric, kernels):
    before = Counter(node.op_type for node in loaded(symmetric.path).node)
    after = onnx.load_from_string(parser_model(symmetric.path / SAMPLER, kernels, "int8").proto).graph
    found = Counter(node.op_type for node in after.node)
    for op_type in ("QuantizeLinear", "DequantizeLinear", "Conv"):
        assert found[op_type] == before[op_type] > 0


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ("tensorrt-rtx", "{}/sampler.onnx is int8 for CPUs, with zero points that TensorRT does not take: export anew"),
        ("auto", "int8 is for CPUs where no engine is asked for"),
    ],
)
def test_tensorrt_refuses_other_zero_points(exported, capsys, engine, says):
    if engine == "tensorrt-rtx":
        pytest.importorskip("tensorrt_rtx_bindings")
    before = sorted(path.name for path in exported.path.iterdir())
    assert cli.main(["--rebuild", str(exported.path), "--engine", engine]) == 2
    assert says.format(exported.path) in capsys.readouterr().err
    assert sorted(path.name for path in exported.path.iterdir()) == before
    read_artifact(exported.path)


def test_tensorrt_rtx_builds_it(symmetric, tmp_path):
    pytest.importorskip("tensorrt_rtx_bindings")
    folder = Path(shutil.copytree(symmetric.path, tmp_path / "artifact"))
    manifest = dataclasses.replace(symmetric.manifest, files=file_infos(folder, [SAMPLER, SERVED, WEIGHTS]))
    options = EngineOptions(profile=BatchProfile(1, 2, 4), targets=("8.9",))
    (info,) = build_engines(Artifact(folder, manifest), "tensorrt-rtx", options, Clock())
    assert info.precision == "int8" and (folder / RTX_PLAN).stat().st_size > 100_000


# New weights, and engines anew


@pytest.fixture(scope="module")
def other_weights(tmp_path_factory):
    """Another training of the architecture."""
    weights = torch.load(golden_case(SMALLEST).path, weights_only=True)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "other.pth"
    torch.save({name: weight + 0.01 * torch.randn_like(weight) for name, weight in weights.items()}, path)
    return path


def test_refit_keeps_the_layers_and_measures_their_ranges(exported, other_weights, tmp_path):
    folder = Path(shutil.copytree(exported.path, tmp_path / "made"))
    before = constants(folder)
    result = refit(RefitOptions(folder, other_weights, int8=True))
    manifest = read_artifact(folder).manifest
    assert manifest.precision == "int8" and manifest.kept_fp32 == exported.manifest.kept_fp32
    assert not result.failure() and manifest.parity is not None and manifest.parity.passed
    after = constants(folder)
    assert before.keys() == after.keys()
    scales = [name for name in before if name.endswith("/scale")]
    assert sum(float(before[name]) != float(after[name]) for name in scales) > 0.9 * len(scales)


def test_refit_wants_the_artifact_s_precision(exported, other_weights):
    with pytest.raises(InputError, match="is in int8: leave --fp16 out"):
        refit(RefitOptions(exported.path, other_weights, fp16=True))


@pytest.mark.parametrize(
    ("options", "runtime", "message"),
    [
        (EngineOptions(refittable=True), "tensorrt", "--refittable does not go with --int8"),
        (EngineOptions(targets=("7.5",)), "tensorrt-rtx", "--target 7.5 is for fp16 alone"),
    ],
)
def test_engine_options_that_int8_does_not_have(options, runtime, message):
    with pytest.raises(InputError, match=message):
        options.check_for(runtime, "int8")


def _native_nodes(artifact: Artifact) -> Counter[str]:
    made = native_graph.native_graph(artifact.path / SAMPLER, artifact.path)
    return Counter(node.op_type for node in onnx.load_model_from_string(made.model).graph.node)


@pytest.mark.parametrize("vnni", [True, False], ids=["integers", "float"])
def test_the_native_library_computes_what_stock_onnx_runtime_does(exported, library, monkeypatch, vnni):
    monkeypatch.setattr(native_graph, "has_exact_int8", lambda: vnni)
    nodes, graph = _native_nodes(exported), loaded(exported.path)
    made = {node.output[0]: node.op_type for node in graph.node}
    rounded = [node for node in graph.node if node.op_type == "Conv" and made.get(node.input[1]) == "DequantizeLinear"]
    # In each of two steps all 35 but what the gates keep in fp32.
    assert 50 < len(rounded) < 70
    assert nodes["Uint8Conv"] == (len(rounded) if vnni else 0)
    inputs = golden_case(SMALLEST).inputs
    native, portable = (
        open_artifact(exported.path, engine).sample(inputs) for engine in ("onnxruntime", "onnxruntime-portable")
    )
    # A last bit that differs before a rounding is a level after it.
    assert psnr(native, portable) > 40


def test_symmetric_graphs_run_with_integers_too(symmetric):
    assert _native_nodes(symmetric)["Uint8Conv"] > 60
