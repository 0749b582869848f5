"""The model repository of an artifact that has knobs."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.artifact.serving import Serving
from ddgan_deploy.export.repository.write import REPOSITORY, write_model_repository
from ddgan_deploy.sampler import Knob
from ddgan_deploy.serving.knobs import knobs_of
from tests.conftest import golden_case

KNOBS = (Knob("gain", "float32", (1,), 0.1, 10, default=1.5), Knob("low_res", "uint8", (4, 2, 3), 0, 255))
TYPES = {"seed": DataType.TYPE_INT64, "gain": DataType.TYPE_FP32, "low_res": DataType.TYPE_UINT8}


@pytest.fixture
def exported(exports):
    return exports.golden(golden_case("no_fir_t2")).path


@pytest.fixture(params=["python", "onnxruntime"])
def repository(request, exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "made", ignore=shutil.ignore_patterns(REPOSITORY))
    artifact = read_artifact(folder)
    sampler = dataclasses.replace(artifact.manifest.sampler, knobs=KNOBS)
    artifact = dataclasses.replace(artifact, manifest=dataclasses.replace(artifact.manifest, sampler=sampler))
    written = write_model_repository(artifact, Serving(backend=request.param))
    models = {
        path.parent.name: text_format.Parse(path.read_text(), ModelConfig()) for path in written.glob("*/*.pbtxt")
    }
    return request.param, written, models


def _parameters(config):
    return {name: {"string_value": value.string_value} for name, value in config.parameters.items()}


def test_every_model_takes_them(repository):
    """What only our own engine can put in, other backends ask for."""
    backend, _, models = repository
    for name in ("ddgan", "ddgan_png", "ddgan_encoder"):
        asked = {each.name: each for each in models[name].input if each.name in TYPES}
        assert {each: tensor.data_type for each, tensor in asked.items()} == TYPES
        assert list(asked["low_res"].dims) == [4, 2, 3]
        optional = {each for each, tensor in asked.items() if tensor.optional}
        assert optional == ({"gain"} if backend == "python" else set())


def test_a_client_finds_them(repository):
    _, _, models = repository
    for name in ("ddgan", "ddgan_png"):
        inputs = [
            {"name": each.name, "data_type": DataType.Name(each.data_type), "dims": list(each.dims)}
            for each in models[name].input
        ]
        assert knobs_of({"input": inputs, "parameters": _parameters(models[name])}) == KNOBS


def test_what_was_drawn_is_told_where_our_engine_draws(repository):
    backend, _, models = repository
    told = {f"drawn_{name}" for name in TYPES} if backend == "python" else set()
    assert {each.name for each in models["ddgan"].output} == {"image", *told}
    assert {each.name for each in models["ddgan_encoder"].input} == {"image", *TYPES, *told}
    first, second = models["ddgan_png"].ensemble_scheduling.step
    assert set(first.input_map) == set(TYPES) and set(first.output_map) == {"image", *told}
    assert set(second.input_map) == {"image", *TYPES, *told}
    for step in (first, second):
        assert all(key == value for key, value in (*step.input_map.items(), *step.output_map.items()))


def test_the_warm_up_gives_all_of_them(repository):
    _, written, models = repository
    for sample in models["ddgan"].model_warmup:
        assert {name: tensor.data_type for name, tensor in sample.inputs.items()} == TYPES
    files = {path.name: path.read_bytes() for path in (written / "ddgan" / "warmup").iterdir()}
    assert files["seed"] == bytes(8) and np.frombuffer(files["gain"], np.float32).tolist() == [1.5]
    assert len(files["low_res"]) == 24
