"""The folded network is held to the published one: to golden data, and to its layers written out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ddgan_deploy.families.base import Given
from ddgan_deploy.families.fastgan import published
from ddgan_deploy.families.fastgan.config import FastganConfig
from ddgan_deploy.families.fastgan.family import FAMILY
from ddgan_deploy.inputs import draw
from tests.ddgan_deploy.families.fastgan.snapshots import (
    NETWORKS,
    contents,
    published_shapes,
    random_state,
    written_out,
)


def read(config, state):
    # Beside the contents a file serves for its hash and its size alone.
    with tempfile.NamedTemporaryFile() as file:
        torch.save(state, file.name)
        return FAMILY.read(contents(config, state), Path(file.name), Given())


def tensors(inputs):
    return {name: torch.from_numpy(value) for name, value in inputs.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_folded_network_is_the_published_one(name):
    config = NETWORKS[name]
    state = random_state(config)
    checkpoint = read(config, state)
    assert checkpoint.model == config and checkpoint.kind == "ema"
    sampling = checkpoint.choose()
    sampler, probes = FAMILY.sampler(config, sampling), FAMILY.probes(config, sampling)
    knobs = {"label": np.array([[0], [config.c_dim - 1]])} if config.cond else {}
    inputs = tensors(draw(sampler, [1, 2], knobs))
    noises = [inputs[draw.name] for draw in sampler.draws if draw.name.startswith("noise_")]
    assert len({draw.streams for draw in sampler.draws}) == len(sampler.draws)
    *features, image = written_out(config, state, inputs["z"], noises, inputs.get("label"))
    found = list(checkpoint.reference(sampling).run(inputs))
    assert len(found) == len(probes) <= len(features) + 1
    for probe, got, want in zip(probes, found, (*features[: len(found) - 1], image), strict=True):
        assert got.shape == want.shape and got.dtype == torch.float32
        assert (got - want).abs().max() < 2e-5 * want.abs().max(), probe.name


def test_shared_noise_is_drawn_twice():
    """One weight serves both layers of a conditional block, and each has noise of its own."""
    config = NETWORKS["classes"]
    reference = read(config, random_state(config)).reference(None)
    sampler = FAMILY.sampler(config, None)
    assert [draw.streams for draw in sampler.draws[1:]] == [2 + 2 * i for i in range(8)]
    inputs = tensors(draw(sampler, [1]))
    image = list(reference.run(inputs))[-1]
    for name in ("noise_0", "noise_1"):
        assert (list(reference.run({**inputs, name: torch.zeros_like(inputs[name])}))[-1] != image).any()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("fastgan_cifar10_32", FastganConfig(32, 3, 256, 0, 128)),
        ("fastgan_1024", FastganConfig(1024, 3, 256, 0, 128)),
        ("fastgan_lite_256", FastganConfig(256, 3, 256, 0, 128, lite=True)),
    ],
)
def test_names_and_shapes_are_those_of_the_published_sizes(name, config):
    shapes = published_shapes(name)
    needed = published.needed(config)
    assert {key: shapes.get(key) for key in needed} == needed
    assert set(shapes) <= set(needed) | published.unused(config)
    weights = {key for key in published.unused(config) if not key.endswith(".weight")}
    assert {key for key in weights if "norm" not in key} <= set(shapes)


@pytest.mark.parametrize("name", NETWORKS)
def test_random_weights_keep_the_size_of_trained_ones(name):
    config = NETWORKS[name]
    reference = FAMILY.untrained(config, None)
    for value in reference.run(tensors(draw(FAMILY.sampler(config, None), [0]))):
        assert 0.02 < value.std() < 5


def test_half_keeps_the_image():
    config = NETWORKS["classes"]
    checkpoint = read(config, random_state(config))
    inputs = tensors(draw(FAMILY.sampler(config, None), [0]))
    image = list(checkpoint.reference(None).run(inputs))[-1]
    *features, rounded = checkpoint.reference(None).half().run(inputs)
    assert rounded.dtype == torch.float32 and features[0].dtype == torch.float16
    assert 0 < (rounded - image).abs().max() < 0.02 * image.abs().max()
