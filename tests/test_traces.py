"""A kept trace is what a trace of the same weights would be."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir
import pytest
import torch

from ddgan_deploy.export.families.ddgan import trace_generator
from ddgan_deploy.families.ddgan.network import Generator
from tests import traces
from tests.export.test_architectures import BASE

SMALL = dataclasses.replace(BASE, ch_mult=(1,), image_size=8)


def graphs(seed: int, config=SMALL) -> list[bytes]:
    """The graphs of a generator with random weights."""
    torch.manual_seed(seed)
    generator = Generator(config)
    with torch.no_grad():
        for weight in generator.parameters():
            weight.add_(torch.randn_like(weight))
    traced = trace_generator(generator)
    return [ir.to_proto(model).SerializeToString() for model in (traced.step, traced.latent)]


def test_other_weights_of_one_architecture(tmp_path):
    with traces.kept(tmp_path / "one"):
        fresh, kept = graphs(1), graphs(1)
        assert kept == fresh
        other = graphs(2)
    assert len(list((tmp_path / "one").glob("*.onnx"))) == 2
    with traces.kept(tmp_path / "two"):
        assert graphs(2) == other != fresh


@pytest.mark.parametrize("change", [{"skip_rescale": False}, {"num_channels": 1}, {"n_mlp": 2}, {"centered": False}])
def test_another_architecture_has_another_name(change):
    first, second = (Generator(dataclasses.replace(SMALL, **changes)) for changes in ({}, change))
    inputs = (torch.zeros(2, 3, 8, 8),)
    assert traces.key(first, inputs, {}) == traces.key(first, inputs, {}) != traces.key(second, inputs, {})
    assert traces.key(first, (torch.zeros(3, 3, 8, 8),), {}) != traces.key(first, inputs, {"opset_version": 9})


def test_what_only_its_address_tells_apart_is_not_kept():
    module = torch.nn.Linear(2, 2)
    module.function = lambda x: x
    assert traces.key(module, (torch.zeros(1, 2),), {}) is None
