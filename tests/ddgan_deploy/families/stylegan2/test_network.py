"""The reference generator, with everything constant folded, against a naive statement of the published one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.stylegan2.config import Sampling
from ddgan_deploy.families.stylegan2.reference import reference
from ddgan_deploy.families.stylegan2.snapshot import generator_of, is_generator
from ddgan_deploy.weight_files.reading import read
from tests.ddgan_deploy.families.stylegan2.published import drawn, made, tree, write

TOLERANCE = 5e-6
"""Of the largest value."""
FORMS = {
    "skip": {},
    "orig": {"architecture": "orig"},
    "resnet": {"architecture": "resnet", "clamp": 0.5},
    "clamped": {"clamp": 0.8, "half_from": 8},
    "classes": {"c_dim": 3},
    "gray": {"colours": 1, "size": 8, "channels": (6, 5), "widths": (10,)},
    "one size": {"size": 4, "channels": (7,)},
    "eight layers": {"widths": (14, 9, 10, 10, 10, 10, 10, 10), "lr": 0.1},
    "lopsided filter": {"taps": (1.0, 2.0, 4.0, 3.0)},
    "short filter": {"taps": (1.0, 1.0)},
    "long filter": {"taps": (1.0, 2.0, 5.0, 5.0, 2.0, 1.5), "architecture": "resnet"},
    "relu": {"activation": "relu", "mapping_activation": "linear"},
    "linear": {"activation": "linear", "mapping_activation": "relu"},
    "no noise": {"use_noise": False},
}


@pytest.fixture(scope="module", params=FORMS)
def form(request, tmp_path_factory):
    it = made(**FORMS[request.param])
    contents = read(write(tmp_path_factory.mktemp("form") / "snapshot.pkl", {"G": None, "G_ema": tree(it)}))
    assert is_generator(contents)
    return it, *generator_of(contents["G_ema"])


@pytest.mark.parametrize(
    ("psi", "cutoff", "noise"), [(1.0, None, "const"), (0.5, 2, "random"), (-1.5, 0, "none"), (0.7, None, "random")]
)
def test_it_computes_what_the_published_network_does(form, psi, cutoff, noise):
    it, config, tensors = form
    random = torch.Generator().manual_seed(5)
    z = torch.randn(3, 1, it.z_dim, generator=random)
    label = torch.tensor([[0], [2], [1]])
    sampling = Sampling(noise, psi, cutoff)
    sampler = reference(config, tensors, sampling)
    inputs = {"z": z, "label": label, "truncation": torch.full((3, 1), psi)}
    shapes = [(4 << i, j) for i in range(len(it.channels)) for j in range(2)][1:]
    noises = [torch.randn(3, 1, size, size, generator=random) for size, _ in shapes]
    inputs.update({f"noise_{i}": value for i, value in enumerate(noises)})
    w, image = drawn(it, z[:, 0], label[:, 0], psi, cutoff, noise, noises)
    with torch.no_grad():
        found = list(sampler.run(inputs))
    for ours, theirs in ((found[0], w), (found[-1], image)):
        assert ours.shape == theirs.shape
        largest = float(theirs.abs().max())
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=TOLERANCE * largest)


def test_what_is_read_is_what_it_was_made_with(form):
    it, config, _ = form
    for ours, theirs in (("image_size", "size"), ("conv_clamp", "clamp"), ("float16_from", "half_from")):
        assert getattr(config, ours) == getattr(it, theirs)
    assert (config.mapping_widths, config.channels, config.c_dim) == (it.widths, it.channels, it.c_dim)


def _changed(tmp_path, change, **options):
    root = tree(made(**options))
    change(root)
    contents = read(write(tmp_path / "snapshot.pkl", {"G_ema": root}))
    with pytest.raises(InputError) as caught:
        generator_of(contents["G_ema"])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _part(root, path):
    for name in path.split("."):
        root = root.state["_modules"][name]
    return root


def _bomb():
    """To write it out, or to compare it with another of its kind, takes for ever."""
    found = (1, 1)
    for _ in range(60):
        found = (found, found)
    return found


def _without(group, name):
    return lambda module: module.state[group].pop(name)


WRONG = {
    "gain": (
        "synthesis.b8.conv1",
        lambda m: m.state.update(act_gain=1.0),
        "synthesis.b8.conv1 has act_gain 1, 1.41421",
    ),
    "clamp": ("synthesis.b8.conv1", lambda m: m.state.update(conv_clamp=3.0), "synthesis.b8.conv1 has conv_clamp 3"),
    "activation": ("synthesis.b8.conv1", lambda m: m.state.update(activation="swish"), "activation differs"),
    "noise": ("synthesis.b8.conv0", lambda m: m.state.update(use_noise=False), "some convolutions have noise"),
    "architecture": ("synthesis.b8", lambda m: m.state.update(architecture="orig"), "architecture differs"),
    "layer": ("synthesis.b8", _without("_modules", "conv1"), "synthesis.b8.conv1 is missing"),
    "weight": ("synthesis.b8.conv1", _without("_parameters", "bias"), "synthesis.b8.conv1.bias is missing"),
    "shape": (
        "mapping.fc1",
        lambda m: m.state["_parameters"].update(bias=torch.zeros(3)),
        r"mapping.fc1.bias has shape [3], [10] would fit",
    ),
    "left over": (
        "mapping",
        lambda m: m.state["_parameters"].update(scale=torch.zeros(3)),
        "1 weights are left over, the first is mapping.scale",
    ),
    "no attribute": ("synthesis.b8.conv1", lambda m: m.state.pop("act_gain"), "a SynthesisLayer carries no act_gain"),
    "a bomb": ("synthesis.b8.conv1", lambda m: m.state.update(activation=_bomb()), "activation is ((("),
    "a bomb for a number": ("mapping.fc0", lambda m: m.state.update(bias_gain=_bomb()), "bias_gain is ((("),
    "no number": ("mapping.fc0", lambda m: m.state.update(bias_gain="much"), "bias_gain is 'much', no number"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_together_is_named(wrong, tmp_path):
    path, change, says = WRONG[wrong]
    assert says in _changed(tmp_path, lambda root: change(_part(root, path)))


@pytest.mark.parametrize("size", [20, 2, True, "16", -4, 1 << 40])
def test_a_size_that_cannot_be(size, tmp_path):
    assert "img_resolution" in _changed(tmp_path, lambda root: root.state.update(img_resolution=size))


def test_a_generator_of_stylegan3_is_named(tmp_path):
    def change(root):
        synthesis = root.state["_modules"]["synthesis"]
        synthesis.state["_modules"]["input"] = synthesis.state["_modules"].pop("b4")

    assert "is a StyleGAN3 generator" in _changed(tmp_path, change)
