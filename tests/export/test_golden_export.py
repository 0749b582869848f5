"""Every golden case through the whole pipeline, against the published code's own numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ddgan_deploy import open_artifact
from tests.conftest import CASES, DATA, golden_case
from tests.export.conftest import export_golden
from tests.export.structure import structure
from tests.trajectories import traced

PINNED = json.loads((DATA / "pinned.json").read_text())
"""Case -> its graphs' structure and the names of its gates: a change of either is made knowingly, here."""


@pytest.mark.parametrize("case", CASES)
def test_published_numbers_step_by_step(case, exports):
    golden = golden_case(case)
    artifact = exports.golden(golden)
    engine = open_artifact(artifact.path)
    trajectory = traced(engine, golden.inputs)
    for k in range(golden.steps):
        if "x0" in golden.io:
            assert np.abs(trajectory.x0[k] - golden.io["x0"][k]).max() <= 1e-4, f"x0 of step {k}"
        assert np.abs(trajectory.x_prev[k] - golden.io["x_prev"][k]).max() <= 1e-4, f"x_prev of step {k}"
    assert np.abs(engine.sample(golden.inputs) - golden.io["x_prev"][-1]).max() <= 1e-4
    parity = artifact.manifest.parity
    assert parity is not None
    assert {
        "gates": [gate.name for gate in parity.gates],
        **{name: structure(artifact.path / name) for name in ("sampler.onnx", "ddgan.onnx")},
    } == PINNED[case]


@pytest.mark.parametrize("case", ["biggan_oneadagn", "no_fir_t2"])
def test_fp16_keeps_40_db(case, exports):
    golden = golden_case(case)
    artifact = exports.golden(golden, "fp16")
    manifest = json.loads((artifact.path / "manifest.json").read_text())
    assert manifest["precision"] == "fp16"
    places = [row["place"] for row in manifest["parity"]["probes"][::2]]
    assert places == [f"step {k} (t={golden.steps - 1 - k})" for k in range(golden.steps)]
    x_0 = open_artifact(artifact.path).sample(golden.inputs)
    error = np.mean((x_0.astype(np.float64) - golden.io["x_prev"][-1]) ** 2)
    assert 10 * np.log10(4 / error) >= 40


def test_one_step_has_no_noise_input(tmp_path):
    golden = golden_case("biggan")
    golden = type(golden)(**{**vars(golden), "steps": 1, "config": None})
    result = export_golden(golden, tmp_path)
    inputs = [tensor.name for tensor in result.artifact.manifest.graphs["sampler.onnx"].inputs]
    assert inputs == ["x_T", "z"]
    assert open_artifact(result.artifact.path).generate([5, 6]).shape == (2, 32, 32, 3)
