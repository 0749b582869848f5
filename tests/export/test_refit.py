"""--refit: other weights of the same architecture into an artifact and its engines."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from ddgan_deploy.artifact.manifest import SAMPLER, SERVED, Artifact, write_manifest
from ddgan_deploy.artifact.reading import file_infos, read_artifact
from ddgan_deploy.engines.tensorrt.plan import PLANS, RTX_PLAN, BatchProfile, read_plan_info
from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.export import cli
from ddgan_deploy.export import refit as refit_module
from ddgan_deploy.export.refit import RefitOptions, refit, structural_difference
from ddgan_deploy.export.tensorrt import engines
from ddgan_deploy.export.tensorrt.engines import build_engines, engine_files
from ddgan_deploy.export.tensorrt.job import EngineJob, ParserModel, log_path
from ddgan_deploy.export.tensorrt.options import EngineOptions
from ddgan_deploy.export.tensorrt.refit import refit_engine
from ddgan_deploy.families.registry import model_and_sampling
from ddgan_deploy.files import sha256
from ddgan_deploy.progress import Clock
from tests.conftest import DATA, golden_case
from tests.export.conftest import export_golden
from tests.export.tensorrt.fake_builder import ParserError, fake_module
from tests.export.test_rebuild import hashes, refused
from tests.fake_bindings import RTX_VERSION

GOLDEN = golden_case("no_fir_t2")
BIASES = ("all_modules.3.Conv_0.bias", "all_modules.3.Conv_1.bias")
"""Two of one length."""
ZERO = "all_modules.4.Conv_1.bias"


def weights() -> dict[str, torch.Tensor]:
    return torch.load(GOLDEN.path, weights_only=True)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> tuple[Path, Path]:
    """Two trainings: in the old one two biases are equal, in the new one they are not, and another is zero."""
    folder, old, new = tmp_path_factory.mktemp("checkpoints"), weights(), weights()
    torch.manual_seed(0)
    for name, weight in new.items():
        new[name] = weight + 0.01 * torch.randn_like(weight)
    first, second = (f"module.{name}" for name in BIASES)
    old[second] = old[first].clone()
    assert not torch.equal(new[first], new[second]) and old[first].any()
    new[f"module.{ZERO}"].zero_()
    for name, content in (("old.pth", old), ("new.pth", new)):
        torch.save(content, folder / name)
    return folder / "old.pth", folder / "new.pth"


def export_from(checkpoint: Path, folder: Path, fp16: bool = False) -> Path:
    golden = dataclasses.replace(GOLDEN, path=checkpoint, name=checkpoint.stem)
    return export_golden(golden, folder, fp16=fp16, verify=False).artifact.path


@pytest.fixture(scope="module")
def exported(checkpoints, tmp_path_factory) -> Path:
    return export_from(checkpoints[0], tmp_path_factory.mktemp("refit"))


@pytest.fixture
def folder(exported, tmp_path):
    return Path(shutil.copytree(exported, tmp_path / "made"))


# The engines are stand-ins.


@pytest.fixture
def jobs(monkeypatch):
    """Builds of TensorRT-RTX, which take no time."""
    made: list[EngineJob] = []

    def build(job, report):
        made.append(job)
        job.plan.write_bytes(b"an engine " + str(len(made)).encode())
        log_path(job.plan).write_text("log")
        return 1.0

    monkeypatch.setattr(engines, "build_engine", build)
    monkeypatch.setattr(engines, "import_runtime", lambda runtime: types.SimpleNamespace(__version__=RTX_VERSION))
    monkeypatch.setattr(engines, "has_gpu", lambda: False)
    return made


def with_engines(folder: Path, runtime: str, monkeypatch: pytest.MonkeyPatch, **options: object) -> Artifact:
    gpu = engines._Gpu("NVIDIA L4", "8.9", None) if runtime == "tensorrt" else None
    monkeypatch.setattr(engines, "_gpu", lambda _: gpu)
    artifact = read_artifact(folder)
    kernels = "portable" if runtime == "tensorrt" else "auto"
    build_engines(artifact, runtime, EngineOptions(kernels=kernels, **options), Clock())
    files = {**artifact.manifest.files, **file_infos(folder, engine_files(folder))}
    write_manifest(folder, dataclasses.replace(artifact.manifest, files=files))
    return read_artifact(folder)


# What it makes


@pytest.mark.parametrize("fp16", [False, True], ids=["fp32", "fp16"])
def test_it_is_a_fresh_export_of_the_new_weights(checkpoints, exported, jobs, monkeypatch, tmp_path, fp16):
    old = export_from(checkpoints[0], tmp_path, True) if fp16 else Path(shutil.copytree(exported, tmp_path / "old"))
    fresh = export_from(checkpoints[1], tmp_path / "fresh", fp16)
    profile = BatchProfile(2, 3, 5)
    with_engines(old, "tensorrt-rtx", monkeypatch, profile=profile, targets=("8.6", "12.0"))
    assert cli.main(["--refit", str(old), "--ckpt", str(checkpoints[1])]) == 0
    artifact = read_artifact(old)
    assert sha256(old / "weights.bin") == sha256(fresh / "weights.bin")
    for name in (SAMPLER, SERVED):
        assert (old / name).read_bytes() == (fresh / name).read_bytes()
    manifest, expected = artifact.manifest, read_artifact(fresh).manifest
    for field in ("checkpoint", "family", "sampler", "probes", "steps", "precision", "kept_fp32", "graphs"):
        assert getattr(manifest, field) == getattr(expected, field)
    assert manifest.checkpoint.file == "new.pth" and manifest.parity.passed
    # The engine is built again as it was.
    info = read_plan_info(artifact, RTX_PLAN)
    assert len(jobs) == 2 and jobs[1].options == EngineOptions(profile=profile, targets=("8.6", "12.0"))
    assert info.profile == profile and info.compute_capabilities == ("8.6", "12.0")
    assert (info.weights_sha256, info.graph_sha256) == (sha256(old / "weights.bin"), sha256(old / SAMPLER))
    assert (old / RTX_PLAN).read_text() == "an engine 2"
    assert "new.pth" in (old / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def graphs_of_itself(monkeypatch, exported):
    """Instead of tracing: the graphs of the old weights, as if the new ones were equal."""

    def copied(folder, recipe, clock):
        manifest = read_artifact(exported).manifest
        _, sampling = model_and_sampling(manifest.family)
        assert (recipe.sampling, recipe.precision) == (sampling, manifest.precision)
        for name in (SAMPLER, SERVED, "weights.bin"):
            shutil.copy(exported / name, folder / name)
        return dataclasses.replace(manifest, files={}, parity=None)

    monkeypatch.setattr(refit_module, "build_graphs", copied)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU and TensorRT for the refitter alone."""
    trt = fake_module()
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.setattr(refit_module, "has_gpu", lambda: True)
    return trt


def test_other_files_stay(folder, checkpoints, graphs_of_itself):
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("mine")
    assert cli.main(["--refit", str(folder), "--ckpt", str(checkpoints[0]), "--no-verify"]) == 0
    assert (folder / "mine" / "notes.txt").read_text() == "mine"


def test_engines_of_tensorrt_are_refitted(folder, checkpoints, jobs, monkeypatch, graphs_of_itself, gpu):
    before = with_engines(folder, "tensorrt", monkeypatch, refittable=True)
    old = {name: read_plan_info(before, name) for name in PLANS["tensorrt"]}
    content = (folder / "ddgan.plan").read_bytes()
    refit(RefitOptions(folder, checkpoints[0], verify=False))
    assert len(jobs) == 2
    artifact = read_artifact(folder)
    assert (folder / "ddgan.plan").read_bytes() == content + b" refitted"
    for name, info in old.items():
        assert read_plan_info(artifact, name) == info
        assert log_path(folder / name).read_text() == "log"
    read, *rest = gpu.api.events
    assert read == "read" and rest[0].endswith(f"/{SAMPLER}") and rest[1] == "refit" and len(rest) == 5


def test_a_refitter_that_fails_leaves_the_artifact(
    folder, checkpoints, jobs, monkeypatch, graphs_of_itself, gpu, capsys
):
    with_engines(folder, "tensorrt", monkeypatch, refittable=True)
    before = hashes(folder)
    gpu.api.missing = ["step0/odd"]
    assert cli.main(["--refit", str(folder), "--ckpt", str(checkpoints[0]), "--no-verify"]) == 1
    assert capsys.readouterr().err == (
        "error: TensorRT cannot refit sampler.plan: it also wants step0/odd; build it anew with --rebuild\n"
    )
    assert hashes(folder) == before and [path.name for path in folder.parent.iterdir()] == ["made"]


def test_a_failing_gate_keeps_the_new_one_under_another_name(folder, checkpoints, graphs_of_itself, capsys):
    """The graphs of the old weights against the new checkpoint."""
    before = hashes(folder)
    assert cli.main(["--refit", str(folder), "--ckpt", str(checkpoints[1])]) == 1
    output = capsys.readouterr()
    failed = folder.with_name("made-FAILED")
    assert output.err.startswith("error: parity failed at step 0") and output.err.count("\n") == 1
    assert str(failed) in output.err and "FAIL" in output.out
    assert hashes(folder) == before and read_artifact(failed).manifest.parity.failures


# What is refused


def untouched(capsys, folder: Path, *argv: object) -> str:
    before = hashes(folder)
    message = refused(capsys, "--refit", folder, *argv)
    assert hashes(folder) == before and [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["made"]
    return message


def test_other_steps(folder, checkpoints, capsys):
    message = untouched(capsys, folder, "--ckpt", checkpoints[1], "--steps", 4)
    assert f"{folder} has 2 steps, not 4: leave --steps out, or export anew" in message


def test_another_precision(folder, checkpoints, capsys):
    message = untouched(capsys, folder, "--ckpt", checkpoints[1], "--fp16")
    assert f"{folder} is in fp32: leave --fp16 out, or export anew" in message


@pytest.mark.parametrize(
    ("case", "field"), [("biggan", "progressive_input residual, not none"), ("gray_t8", "num_channels 1, not 3")]
)
def test_another_architecture(folder, capsys, case, field):
    other = golden_case(case)
    message = untouched(capsys, folder, "--ckpt", other.path, "--config", other.config)
    who, fix = f"{other.path} with {other.config}", "correct or leave out --config, or export it anew"
    assert f"{who} has another architecture than {folder} ({field}): {fix}" in message


def test_another_architecture_without_a_config(folder, capsys):
    other = golden_case("biggan").path
    message = untouched(capsys, folder, "--ckpt", other)
    assert f"{other} has another architecture than {folder} (" in message and "config" not in message


def test_the_schedule_is_the_artifacts_where_nothing_else_says(folder, checkpoints, capsys):
    manifest = read_artifact(folder).manifest
    family = dataclasses.replace(manifest.family, sampling={**manifest.family.sampling, "beta_min": 0.2})
    write_manifest(folder, dataclasses.replace(manifest, family=family))
    message = untouched(capsys, folder, "--ckpt", checkpoints[1])
    # The graph still has the old coefficients.
    assert "does not fit sampler.onnx (sampling beta_min 0.2, not 0.1)" in message and "another sampling" not in message


def changed_config(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "args.json"
    path.write_text(json.dumps(json.loads(GOLDEN.config.read_text()) | changes))
    return path


@pytest.mark.parametrize("change", [{"beta_min": 0.2}, {"beta_max": 19.0}])
def test_another_schedule(folder, checkpoints, capsys, tmp_path, change):
    config = changed_config(tmp_path, **change)
    message = untouched(capsys, folder, "--ckpt", checkpoints[1], "--config", config)
    (value,) = change.values()
    assert "another sampling" in message and str(value) in message and "export it anew" in message


def test_a_field_that_weights_do_not_tell(folder, checkpoints, capsys, tmp_path):
    config = changed_config(tmp_path, not_use_tanh=True)
    message = untouched(capsys, folder, "--ckpt", checkpoints[1], "--config", config)
    assert f"another architecture than {folder} (not_use_tanh True, not False)" in message


def test_graphs_of_another_form(folder, checkpoints, capsys, graphs_of_itself):
    model = onnx.load(folder / SAMPLER, load_external_data=False)
    node = next(node for node in model.graph.node if node.op_type == "AdaGN")
    next(attribute for attribute in node.attribute if attribute.name == "epsilon").f = 2e-6
    onnx.save(model, folder / SAMPLER)
    artifact = Artifact(folder, read_artifact_unchecked(folder))
    files = {**artifact.manifest.files, **file_infos(folder, [SAMPLER])}
    write_manifest(folder, dataclasses.replace(artifact.manifest, files=files))
    message = untouched(capsys, folder, "--ckpt", checkpoints[0])
    assert f"the new weights make another {SAMPLER} than {folder} has (at node {node.name}): export anew" in message


def read_artifact_unchecked(folder: Path):
    from ddgan_deploy.artifact.reading import read_damaged

    return read_damaged(folder)[0].manifest


def test_engines_that_are_not_refittable(folder, checkpoints, capsys, jobs, monkeypatch):
    with_engines(folder, "tensorrt", monkeypatch)
    message = untouched(capsys, folder, "--ckpt", checkpoints[1])
    assert f"{folder / 'sampler.plan'} was not built to be refitted: export anew, with --refittable" in message


def test_engines_whose_gpu_is_not_here(folder, checkpoints, capsys, jobs, monkeypatch):
    with_engines(folder, "tensorrt", monkeypatch, refittable=True)
    monkeypatch.setattr(refit_module, "has_gpu", lambda: False)
    message = untouched(capsys, folder, "--ckpt", checkpoints[1])
    assert f"{folder / 'sampler.plan'} can be refitted on its GPU alone, and here is none: run it there" in message


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ((), "--ckpt FILE is missing"),
        (("--ckpt", "none.pth"), "none.pth"),
        (("--ckpt", GOLDEN.path, "--out", "there"), "--out does not go with --refit"),
        (("--ckpt", GOLDEN.path, "--overwrite"), "--overwrite does not go with --refit"),
        (("--ckpt", GOLDEN.path, "--engine", "none"), "--refit keeps the engines' options as they are"),
        (("--ckpt", GOLDEN.path, "--batch", "1:2:4"), "--refit keeps the engines' options as they are"),
        (("--ckpt", GOLDEN.path, "--target", "8.9"), "--refit keeps the engines' options as they are"),
        (("--ckpt", DATA / "biggan" / "args.json"), "not a PyTorch checkpoint"),
    ],
)
def test_the_command_line(folder, capsys, argv, says):
    assert says in untouched(capsys, folder, *argv)


def test_a_folder_that_is_no_artifact(tmp_path, capsys):
    assert "does not exist" in refused(capsys, "--refit", tmp_path / "none", "--ckpt", GOLDEN.path)


# Differences of graphs


def test_equal_graphs_do_not_differ(exported):
    assert structural_difference(exported / SAMPLER, exported / SAMPLER) == ""


def inner_value(graph: onnx.GraphProto) -> str:
    small = next(tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT64)
    small.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(small) + 1, small.name))
    return f"at weight {small.name}"


def node_more(graph: onnx.GraphProto) -> str:
    graph.node.append(onnx.helper.make_node("Identity", ["x_0"], ["more"], name="more"))
    return "at its inputs, outputs or number of nodes"


def other_shape(graph: onnx.GraphProto) -> str:
    weight = next(tensor for tensor in graph.initializer if len(tensor.dims) == 4)
    weight.dims[0] *= 2
    return f"at weight {weight.name}"


def other_input(graph: onnx.GraphProto) -> str:
    graph.input[0].type.tensor_type.shape.dim[2].dim_value = 64
    return "at its inputs, outputs or number of nodes"


def weight_more(graph: onnx.GraphProto) -> str:
    graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "more"))
    return "at weight more"


@pytest.mark.parametrize("change", [inner_value, node_more, other_shape, other_input, weight_more])
def test_every_difference_but_values_is_seen(exported, tmp_path, change):
    model = onnx.load(exported / SAMPLER, load_external_data=False)
    says = change(model.graph)
    (tmp_path / SAMPLER).write_bytes(model.SerializeToString())
    assert structural_difference(exported / SAMPLER, tmp_path / SAMPLER) == says


# The refitter


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "sampler.plan").write_bytes(b"an engine")
    return tmp_path / "sampler.plan"


def refitted(plan: Path) -> bytes:
    target = plan.with_name("new.plan")
    refit_engine(plan, ParserModel(b"model", {}), plan.with_name(SAMPLER), target)
    return target.read_bytes()


def test_the_refitter_is_given_the_new_weights(plan, gpu):
    assert refitted(plan) == b"an engine refitted"
    assert gpu.api.events == ["read", f"weights of {plan.with_name(SAMPLER)}", "refit"]


def test_an_engine_that_cannot_be_read(plan, gpu):
    gpu.api.unreadable = True
    with pytest.raises(InputError) as caught:
        refitted(plan)
    assert str(caught.value) == (
        f"TensorRT cannot read {plan}: the magic tag does not match; build it anew with --rebuild"
    )


def test_weights_that_the_parser_refuses(plan, gpu):
    gpu.api.parser_error = ParserError("In node 3:\n no such weight")
    with pytest.raises(GateError) as caught:
        refitted(plan)
    assert str(caught.value) == (f"TensorRT cannot take the weights of {SAMPLER}: In node 3: no such weight")


@pytest.mark.parametrize(
    ("missing", "errors", "says"),
    [(["step0/odd", "more"], [], "it also wants step0/odd"), ([], ["it is\n broken", "later"], "it is broken")],
)
def test_weights_that_the_engine_refuses(plan, gpu, missing, errors, says):
    gpu.api.missing, gpu.api.errors = missing, errors
    with pytest.raises(GateError) as caught:
        refitted(plan)
    assert str(caught.value) == f"TensorRT cannot refit sampler.plan: {says}; build it anew with --rebuild"
    assert not plan.with_name("new.plan").exists()
