"""Snapshots that the published training codes have written, read without running any of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ddgan_deploy.weight_files.objects import Saved, modules, state_dict
from ddgan_deploy.weight_files.reading import read
from ddgan_deploy.weight_files.tensors import checked_tensors
from tests.conftest import DATA

FOLDERS = sorted((DATA / "stylegan2").iterdir())


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param


def told(tensor: Any) -> dict[str, Any]:
    content = tensor.contiguous().numpy().tobytes()
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def test_the_averaged_generator_has_its_weights_in_their_order(folder):
    generator = read(folder / "snapshot.pkl")["G_ema"]
    expected = json.loads((folder / "state_dict.json").read_text())
    weights = checked_tensors(state_dict(generator), folder / "snapshot.pkl")
    assert list(weights) == list(expected)
    assert {name: told(weight) for name, weight in weights.items()} == expected


def test_the_other_parts_are_read_too(folder):
    found = read(folder / "snapshot.pkl")
    assert {"G", "D", "training_set_kwargs", "progress"} <= set(found)
    assert isinstance(found["D"], Saved)
    assert isinstance(found["training_set_kwargs"], dict)
    assert len(state_dict(found["G"])) == len(state_dict(found["G_ema"]))


def test_objects_carry_what_the_published_code_saves(folder):
    generator = read(folder / "snapshot.pkl")["G_ema"]
    arguments = json.loads((folder / "case.json").read_text())["G_kwargs"]
    assert generator.class_name == arguments["class_name"].rpartition(".")[2]
    assert generator.state["img_resolution"] == arguments["img_resolution"]
    found = dict(modules(generator))
    if "fastgan" in folder.name:
        assert generator.kind == "pg_modules.networks_fastgan.Generator"
        assert generator.source is None
        assert found["synthesis.init.init.0"].kind == "torch.nn.modules.conv.ConvTranspose2d"
    else:
        assert generator.state["_init_kwargs"]["synthesis_kwargs"] == arguments["synthesis_kwargs"]
        assert found["synthesis.b4.conv1"].kind == "SynthesisLayer"
        assert all(module.source for module in found.values())


def test_what_is_shared_is_shared(folder):
    generator = read(folder / "snapshot.pkl")["G_ema"]
    sources = {id(module.source) for _, module in modules(generator)}
    assert len(sources) == 1
