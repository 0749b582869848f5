"""The golden snapshot, whose features and image the published code computed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.families.fastgan.config import FastganConfig
from ddgan_deploy.families.fastgan.family import FAMILY
from ddgan_deploy.images import to_pixels
from tests.ddgan_deploy.families.fastgan.snapshots import GOLDEN, NETWORKS, random_state, write_snapshot


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint(GOLDEN / "snapshot.pkl")


def test_the_file_tells_the_network(checkpoint):
    assert checkpoint.family is FAMILY
    made = json.loads((GOLDEN / "case.json").read_text())["G_kwargs"]
    assert checkpoint.model == FastganConfig(64, 3, made["z_dim"], 0, made["ngf"])
    assert checkpoint.trained_steps == 1 and not checkpoint.assumed(checkpoint.choose())


def test_features_and_image_are_the_published_ones(checkpoint):
    io = np.load(GOLDEN / "io.npz")
    noises = [io[f"noise_{i:02}"] for i in range(8)]
    inputs = {"z": io["z"][:, None], **{f"noise_{i}": noise for i, noise in enumerate(noises)}}
    values = checkpoint.reference(checkpoint.choose()).run({k: torch.from_numpy(v) for k, v in inputs.items()})
    probes = FAMILY.probes(checkpoint.model, checkpoint.choose())
    found = dict(zip((probe.value for probe in probes), values, strict=True))
    known = {name.removeprefix("block/"): io[name] for name in io if name.startswith("block/")}
    assert set(found) - set(known) == {"feat_64", "x_0"}
    for name, want in {**known, "x_0": io["image"]}.items():
        assert np.abs(found[name].numpy() - want).max() < 2e-6 * np.abs(want).max(), name
    # The published conversion cuts off what it does not round.
    assert np.abs(to_pixels(found["x_0"].numpy()) - io["pixels"].astype(int)).max() <= 1


@pytest.mark.parametrize("name", ["32", "classes"])
def test_a_written_snapshot_is_read(name, tmp_path):
    config = NETWORKS[name]
    read = load_checkpoint(write_snapshot(tmp_path / "snapshot.pkl", config, random_state(config)))
    assert read.family is FAMILY and read.model == config
