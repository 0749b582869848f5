"""What the JSON beside an engine file says, and where the engine can run."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from ddgan_deploy.artifact.results import Gate, ParityResult
from ddgan_deploy.engines.tensorrt.plan import (
    PLANS,
    RTX_PLAN,
    SAMPLER_PLAN,
    SERVED_PLAN,
    Here,
    check_plan,
    has_plans,
    info_path,
    read_plan_info,
    rebuild_command,
    write_plan_info,
)
from ddgan_deploy.errors import InputError
from tests.ddgan_deploy.engines.tensorrt.fake_tensorrt import add_plans, plan_info
from tests.fake_bindings import VERSION

HERE = Here(VERSION, "8.9")


@pytest.fixture
def artifact(exported, tmp_path):
    return add_plans(shutil.copytree(exported, tmp_path / "artifact"), "tensorrt")


def test_what_is_written_is_read(artifact):
    parity = ParityResult("tensorrt", (0, 1), (Gate("no NaN or Inf", True, 0, 0, "values"),), 0.5)
    info = dataclasses.replace(plan_info(artifact, SERVED_PLAN), medians_ms={"fused": 1.5}, parity=parity, gpu=None)
    write_plan_info(artifact.path / SERVED_PLAN, info)
    assert read_plan_info(artifact, SERVED_PLAN) == info
    check_plan(artifact, SERVED_PLAN, info, HERE)


def test_any_file_of_a_runtime_counts(artifact):
    assert has_plans(artifact, "tensorrt") and not has_plans(artifact, "tensorrt-rtx")
    (artifact.path / SAMPLER_PLAN).unlink()
    assert has_plans(artifact, "tensorrt")
    (artifact.path / SERVED_PLAN).unlink()
    assert not has_plans(artifact, "tensorrt")


@pytest.mark.parametrize("name", [name for names in PLANS.values() for name in names])
def test_the_rebuild_command_names_the_runtime(artifact, name):
    runtime = "tensorrt-rtx" if name == RTX_PLAN else "tensorrt"
    assert rebuild_command(artifact, name) == f"ddgan-export --rebuild {artifact.path} --engine {runtime}"


def _refusal(artifact) -> str:
    with pytest.raises(InputError) as refused:
        read_plan_info(artifact, SERVED_PLAN)
    message = str(refused.value)
    command = rebuild_command(artifact, SERVED_PLAN)
    assert "\n" not in message and message.endswith(command)
    return message.removesuffix(command).replace(str(artifact.path), "DIR")


def test_missing_files_are_named(artifact):
    info_path(artifact.path / SERVED_PLAN).unlink()
    assert (
        _refusal(artifact) == "DIR/ddgan.plan.json is missing, which says what can run ddgan.plan: build it anew with "
    )
    (artifact.path / SERVED_PLAN).unlink()
    assert _refusal(artifact) == "DIR has no engine ddgan.plan: build it with "


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2, "runtime": "later"}, "has format version 2, this ddgan-deploy reads 1"),
        ({"precision": "int4"}, "is damaged (precision: Input should be 'fp32', 'fp16' or 'int8')"),
        ({"profile": {"least": 4, "best": 2, "most": 8}}, "is damaged (profile: 4:2:8 cannot be)"),
        ({"profile": {"least": 0, "best": 2, "most": 8}}, "is damaged (profile: 0:2:8 cannot be)"),
        ({"version": "unknown"}, "is damaged (version: unknown cannot be)"),
        ({"runtime": "tensorrt-rtx"}, "is damaged (runtime: tensorrt-rtx cannot be)"),
    ],
)
def test_damaged_fields_are_named(artifact, change, message):
    path = info_path(artifact.path / SERVED_PLAN)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert _refusal(artifact) == f"DIR/ddgan.plan.json {message}: build it anew with "


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_damaged_content_is_one_line(artifact, content):
    info_path(artifact.path / SERVED_PLAN).write_bytes(content)
    assert "DIR/ddgan.plan.json is damaged (content: " in _refusal(artifact)


@pytest.mark.parametrize(
    ("change", "here", "reason"),
    [
        ({"graph_sha256": "0" * 64}, HERE, "was built from another ddgan.onnx than the artifact's"),
        ({"weights_sha256": "0" * 64}, HERE, "was built from another weights.bin than the artifact's"),
        ({"graph": "other.onnx"}, HERE, "was built from another other.onnx than the artifact's"),
        ({}, Here("11.5.0.1", "8.9"), "was built by TensorRT 11.4.0.106, here is 11.5.0.1"),
        ({}, Here(VERSION, "9.0"), "was built for compute capability 8.9, the GPU here has 9.0"),
        (
            {"compute_capabilities": ["8.0", "8.6"]},
            HERE,
            "was built for compute capability 8.0, 8.6, the GPU here has 8.9",
        ),
        ({"hardware_compatibility": "ampere_plus"}, Here(VERSION, "7.5"), "the GPU here has 7.5"),
        ({"version_compatible": True}, Here("11.3.9", "8.9"), "here is 11.3.9"),
        ({"version_compatible": True}, Here("12.0.0", "8.9"), "here is 12.0.0"),
    ],
)
def test_what_cannot_run_here_is_refused(artifact, change, here, reason):
    info = dataclasses.replace(plan_info(artifact, SERVED_PLAN), **change)
    with pytest.raises(InputError) as refused:
        check_plan(artifact, SERVED_PLAN, info, here)
    command = rebuild_command(artifact, SERVED_PLAN)
    assert str(refused.value).startswith(f"{artifact.path / SERVED_PLAN} ")
    assert str(refused.value).endswith(f"{reason}: build it anew with {command}")


@pytest.mark.parametrize(
    ("change", "here"),
    [
        ({"version_compatible": True}, Here("11.10.0", "8.9")),
        ({"version_compatible": True, "version": "10.9.0.34"}, Here(VERSION, "8.9")),
        ({"hardware_compatibility": "ampere_plus"}, Here(VERSION, "12.0")),
        ({"hardware_compatibility": "same_compute_capability"}, HERE),
    ],
)
def test_what_was_built_for_more_runs(artifact, change, here):
    check_plan(artifact, SERVED_PLAN, dataclasses.replace(plan_info(artifact, SERVED_PLAN), **change), here)
