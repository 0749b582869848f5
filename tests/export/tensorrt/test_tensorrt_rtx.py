"""Engines by the real TensorRT-RTX, which builds on a machine without a GPU."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from ddgan_deploy.artifact.manifest import SAMPLER, SERVED, WEIGHTS, Artifact, write_manifest
from ddgan_deploy.artifact.reading import file_infos, read_artifact
from ddgan_deploy.engines.tensorrt.plan import RTX_PLAN, BatchProfile, PlanInfo, info_path, read_plan_info
from ddgan_deploy.engines.tensorrt.runtimes import import_runtime
from ddgan_deploy.errors import GateError
from ddgan_deploy.export import cli
from ddgan_deploy.export.pipeline import build_graphs
from ddgan_deploy.export.recipe import Recipe
from ddgan_deploy.export.tensorrt import build as tensorrt_engine
from ddgan_deploy.export.tensorrt import choice as engine_choice
from ddgan_deploy.export.tensorrt.build import build_engine
from ddgan_deploy.export.tensorrt.engines import build_engines
from ddgan_deploy.export.tensorrt.job import EngineJob, ParserModel, log_path
from ddgan_deploy.export.tensorrt.options import TARGETS, EngineOptions
from ddgan_deploy.export.tensorrt.parser_graph import parser_model
from ddgan_deploy.files import sha256
from ddgan_deploy.progress import Clock
from tests.conftest import golden_case

pytest.importorskip("tensorrt_rtx_bindings")

SMALLEST = "no_fir_t2"
PROFILE = BatchProfile(1, 2, 4)
RTX_FILES = {RTX_PLAN, f"{RTX_PLAN}.json", f"{RTX_PLAN}.log"}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory) -> Callable[..., Artifact]:
    """The graphs of a golden case, without all that people look at; or of one step."""

    @functools.cache
    def make(name: str, precision: str, one_step: bool = False) -> Artifact:
        folder, golden = tmp_path_factory.mktemp("graphs"), golden_case(name)
        checkpoint = golden.load()
        sampling = checkpoint.choose(golden.steps)
        if one_step:
            sampling = dataclasses.replace(sampling, steps=1)
        manifest = build_graphs(folder, Recipe(checkpoint, sampling, precision), Clock())
        return Artifact(folder, dataclasses.replace(manifest, files=file_infos(folder, [SAMPLER, SERVED, WEIGHTS])))

    return make


def copied(artifact: Artifact, folder: Path) -> Artifact:
    return Artifact(Path(shutil.copytree(artifact.path, folder / "artifact")), artifact.manifest)


def build(artifact: Artifact, *targets: str, **options: object) -> PlanInfo:
    made = EngineOptions(profile=PROFILE, targets=targets, **options)
    (info,) = build_engines(artifact, "tensorrt-rtx", made, Clock())
    return info


# What it builds


@pytest.mark.parametrize(
    ("name", "precision", "targets"),
    [
        ("biggan", "fp32", ("8.9",)),
        # Turing has no products in fp32.
        (SMALLEST, "fp32", ("8.0", "8.6", "8.9", "12.0")),
        ("biggan_oneadagn", "fp16", ("7.5", "8.0", "8.6", "8.9", "12.0")),
    ],
)
def test_golden_cases(graphs, tmp_path, name, precision, targets):
    artifact = copied(graphs(name, precision), tmp_path)
    info = build(artifact, *targets)
    plan, files = artifact.path / RTX_PLAN, artifact.manifest.files
    assert plan.stat().st_size > 100_000
    assert {path.name for path in artifact.path.iterdir()} == {SAMPLER, SERVED, WEIGHTS, *RTX_FILES}
    log = log_path(plan).read_text()
    assert log.startswith("[") and "ERROR" not in log
    assert read_plan_info(artifact, RTX_PLAN) == info
    assert info == PlanInfo(
        format_version=1,
        runtime="tensorrt-rtx",
        version=import_runtime("tensorrt-rtx").__version__,
        compute_capabilities=targets,
        hardware_compatibility="none",
        version_compatible=False,
        graph=SAMPLER,
        graph_sha256=files[SAMPLER].sha256,
        weights_sha256=files[WEIGHTS].sha256,
        profile=PROFILE,
        precision=precision,
        kernels="portable",
        refittable=False,
        gpu=None,
        driver=None,
        build_seconds=info.build_seconds,
    )
    assert info.build_seconds > 0
    assert json.loads(info_path(plan).read_text())["profile"] == {"least": 1, "best": 2, "most": 4}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_alone(graphs, tmp_path, target):
    artifact = copied(graphs(SMALLEST, "fp16", one_step=True), tmp_path)
    assert build(artifact, target).compute_capabilities == (target,)
    assert (artifact.path / RTX_PLAN).stat().st_size > 100_000


def test_the_builder_is_told_of_batches_and_targets(graphs, tmp_path, monkeypatch):
    """In its own words."""
    told = {}
    honest = tensorrt_engine._profile

    def profile(builder, network, options):
        made = honest(builder, network, options)
        names = [network.get_input(index).name for index in range(network.num_inputs)]
        told["shapes"] = {name: [tuple(shape) for shape in made.get_shape(name)] for name in names}
        return made

    def targets(config):
        made = [config.get_compute_capability(index).name for index in range(config.num_compute_capabilities)]
        told["targets"] = made

    monkeypatch.setattr(tensorrt_engine, "_profile", profile)
    monkeypatch.setattr(tensorrt_engine, "_config", stop_after(tensorrt_engine._config, targets))
    path = graphs(SMALLEST, "fp32").path / SAMPLER
    with pytest.raises(Stopped):
        build_engine(make_job(path, parser_model(path, "portable", "fp32"), tmp_path, targets=("8.6", "12.0")))
    assert told == {
        "shapes": {
            "x_T": [(size, 3, 32, 32) for size in (1, 2, 4)],
            "z": [(size, 2, 16) for size in (1, 2, 4)],
            "noise": [(size, 1, 3, 32, 32) for size in (1, 2, 4)],
        },
        "targets": ["SM86", "SM120"],
    }


class Stopped(Exception):
    """The network was taken; building it would only take time."""


def stop_after(configure: Callable[..., Any], look: Callable[[Any], object] = id) -> Callable[..., object]:
    def stopping(*args: object) -> None:
        look(configure(*args))
        raise Stopped

    return stopping


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_served_graph_is_taken_but_for_its_noise(graphs, tmp_path, monkeypatch, precision):
    """TensorRT proper runs PhiloxNormal by a plugin; the rest of the served graph, bytes out included, is here."""
    path = graphs("biggan", precision).path / SERVED
    model = onnx.load_from_string(parser_model(path, "portable", precision).proto)
    drawn = [node for node in model.graph.node if node.op_type == "PhiloxNormal"]
    assert len(drawn) == 4 + 4
    for node in drawn:
        shape = next(attribute.ints for attribute in node.attribute if attribute.name == "shape")
        model.graph.input.append(
            helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, ["batch", *shape])
        )
        model.graph.node.remove(node)
    del model.graph.input[0]
    monkeypatch.setattr(tensorrt_engine, "_config", stop_after(tensorrt_engine._config))
    with pytest.raises(Stopped):
        build_engine(make_job(path, ParserModel(model.SerializeToString(), {}), tmp_path, precision))


def make_job(
    path: Path, model: ParserModel, folder: Path, precision: str = "fp32", targets: tuple[str, ...] = ("8.9",)
) -> EngineJob:
    options = EngineOptions(profile=PROFILE, targets=targets)
    return EngineJob("tensorrt-rtx", model, path, folder / RTX_PLAN, precision, "portable", options)


# What it refuses


def test_turing_has_no_fp32_products(graphs, tmp_path):
    """A limit of TensorRT-RTX; the message names the product and the GPU."""
    artifact = copied(graphs(SMALLEST, "fp32"), tmp_path)
    message = refusal(artifact, lambda: build(artifact, "7.5"))
    assert "TensorRT-RTX cannot build sampler.onnx" in message and "Turing (SM75)" in message
    assert "z_transform.1/MatMul" in message


def refusal(artifact: Artifact, work: Callable[[], object]) -> str:
    before = sorted(artifact.path.iterdir())
    with pytest.raises(GateError) as caught:
        work()
    assert sorted(artifact.path.iterdir()) == before
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    return message


def edited(artifact: Artifact, edit: Callable[[onnx.GraphProto], None]) -> None:
    model = onnx.load(artifact.path / SAMPLER, load_external_data=False)
    edit(model.graph)
    onnx.save(model, artifact.path / SAMPLER)


def operator_without_a_place(graph: onnx.GraphProto) -> None:
    """Valid ONNX that the parser does not know."""
    last = graph.node[-1]
    last.output[0] = "before"
    graph.node.append(helper.make_node("Det", ["before"], ["determinant"], name="odd/Det"))
    graph.node.append(helper.make_node("Unsqueeze", ["determinant", "axes"], ["wide"], name="odd/Unsqueeze"))
    graph.node.append(helper.make_node("Add", ["before", "wide"], ["x_0"], name="odd/Add"))
    graph.initializer.append(numpy_helper.from_array(np.array([2, 3], np.int64), "axes"))


def wrong_groups(graph: onnx.GraphProto) -> None:
    node = next(node for node in graph.node if node.op_type == "AdaGN")
    node.name = "odd/AdaGN"
    next(attribute for attribute in node.attribute if attribute.name == "groups").i = 5


def input_from_nowhere(graph: onnx.GraphProto) -> None:
    node = next(node for node in graph.node if node.op_type == "Conv")
    node.name, node.input[0] = "odd/Conv", "nowhere"


def wrong_weight(graph: onnx.GraphProto) -> None:
    node = next(node for node in graph.node if node.op_type == "Conv")
    node.name = "odd/Conv"
    weight = next(tensor for tensor in graph.initializer if tensor.name == node.input[1])
    graph.initializer.append(numpy_helper.from_array(np.zeros((16, 5, 3, 3), np.float32), "odd/weight"))
    node.input[1] = "odd/weight"
    assert list(weight.dims) == [16, 3, 3, 3]


@pytest.mark.parametrize(
    ("edit", "names"),
    [
        (operator_without_a_place, "odd/Det"),
        (wrong_groups, "AdaGN"),
        (input_from_nowhere, "odd/Conv"),
        (wrong_weight, "odd/Conv"),
    ],
)
def test_a_graph_that_is_broken(graphs, tmp_path, edit, names):
    artifact = copied(graphs(SMALLEST, "fp32"), tmp_path)
    edited(artifact, edit)
    message = refusal(artifact, lambda: build(artifact, "8.9"))
    assert names in message and SAMPLER in message


def test_weights_that_are_missing(graphs, tmp_path):
    artifact = copied(graphs(SMALLEST, "fp32"), tmp_path)
    (artifact.path / WEIGHTS).unlink()
    assert WEIGHTS in refusal(artifact, lambda: build(artifact, "8.9"))


def test_weights_that_are_cut(graphs, tmp_path):
    """Past the checker, which reads lengths alone: the parser reads the file."""
    artifact = copied(graphs(SMALLEST, "fp32"), tmp_path)
    model = parser_model(artifact.path / SAMPLER, "portable", "fp32")
    (artifact.path / WEIGHTS).write_bytes(b"")
    job = make_job(artifact.path / SAMPLER, model, artifact.path)
    message = refusal(artifact, lambda: build_engine(job))
    assert SAMPLER in message


def test_a_changed_artifact_is_refused_before_the_parser(graphs, tmp_path, capsys):
    artifact = copied(graphs(SMALLEST, "fp32"), tmp_path)
    write_manifest(artifact.path, artifact.manifest)
    edited(artifact, wrong_groups)
    assert cli.main(["--rebuild", str(artifact.path), "--engine", "tensorrt-rtx"]) == 2
    error = capsys.readouterr().err
    assert error == f"error: {artifact.path / SAMPLER} is missing or changed since the export: export again\n"


# The command


def test_the_command_builds_it_where_there_is_no_gpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(engine_choice, "has_gpu", lambda: False)
    golden, out = golden_case(SMALLEST), tmp_path / "made"
    argv = ["--ckpt", golden.path, "--config", golden.config, "--steps", 2, "--out", out, "--batch", "1:2:4"]
    assert cli.main([*map(str, argv), "--engine", "tensorrt-rtx", "--target", "86", "89"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "engines TensorRT-RTX: asked for" in printed
    assert "for 8.6, 8.9, batch 1:2:4, portable kernels" in printed
    artifact = read_artifact(out)
    assert set(artifact.manifest.files) == {SAMPLER, SERVED, WEIGHTS, *RTX_FILES}
    for name in RTX_FILES:
        assert artifact.manifest.files[name].sha256 == sha256(out / name)
    info = read_plan_info(artifact, RTX_PLAN)
    assert info.compute_capabilities == ("8.6", "8.9") and info.profile == PROFILE and info.parity is None
    assert "No gate has run on them" in (out / "report.html").read_text(encoding="utf-8")
