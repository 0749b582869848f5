"""Whose a file is, what its shapes tell, what is stated, and what had to be assumed."""

from __future__ import annotations

import dataclasses

import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.consistency.config import ConsistencyConfig
from ddgan_deploy.families.consistency.model import unet_of
from ddgan_deploy.families.registry import told_by
from tests.ddgan_deploy.families.adm.made import Made, shapes
from tests.ddgan_deploy.families.consistency.small import ARGUMENTS, CLASSES, PLAIN, TWO_STEPS, network, stored

FIXED = {"resblock_updown": True, "num_head_channels": 64, "use_new_attention_order": True, "learn_sigma": False}
IMAGENET = Made(
    image_size=64,
    num_channels=192,
    num_res_blocks=3,
    channel_mult=(1, 2, 3, 4),
    attention=(1, 2, 3),
    num_classes=1000,
    **FIXED,
)
LSUN = Made(
    image_size=256,
    num_channels=256,
    num_res_blocks=2,
    channel_mult=(1, 1, 2, 2, 4, 4),
    attention=(3, 4, 5),
    use_scale_shift_norm=False,
    **FIXED,
)
DEFAULTS = ["training_mode", "sigma_min", "sigma_max"]


def shapes_in_files(it):
    attention = (".qkv.weight", ".proj_out.weight")
    return {name: (*shape, 1) if name.endswith(attention) else shape for name, shape in shapes(it).items()}


@pytest.mark.parametrize("it", [PLAIN, CLASSES], ids=["plain", "classes"])
def test_an_attention_tells_whose_a_file_is(read, it):
    assert read(stored(it), it.arguments).family.name == "consistency"
    assert read(it.weights, it.arguments).family.name == "adm"


def test_names_of_distributed_training(read):
    weights = {f"module.{name}": value for name, value in stored(CLASSES).items()}
    found = read(weights)
    assert found.family.name == "consistency" and found.model == read().model


@pytest.mark.parametrize(("it", "name"), [(IMAGENET, "cd_imagenet64 or ct_imagenet64"), (LSUN, "bedroom256 or cat256")])
def test_a_published_network_is_recognised(it, name):
    found = unet_of(shapes_in_files(it), {}, {})
    assert found.recognised is not None and found.recognised.name == name
    assert set(found.taken) == {"image_size", "num_head_channels"}
    assert found.model == ConsistencyConfig(
        image_size=it.image_size,
        num_channels=it.num_channels,
        num_res_blocks=it.num_res_blocks,
        channel_mult=it.channel_mult,
        attention_levels=it.attention,
        use_scale_shift_norm=it.use_scale_shift_norm,
        resblock_updown=True,
        num_head_channels=64,
        num_classes=it.num_classes,
    )


@pytest.mark.parametrize("it", [IMAGENET, LSUN], ids=["imagenet", "lsun"])
def test_its_own_arguments_tell_the_same(it):
    stated = {
        "image_size": it.image_size,
        "num_channels": it.num_channels,
        "num_head_channels": 64,
        "attention_resolutions": (32, 16, 8),
    }
    found = unet_of(shapes_in_files(it), stated, {})
    assert found.model == dataclasses.replace(unet_of(shapes_in_files(it), {}, {}).model, num_heads=4)
    assert found.recognised is None and not found.taken


@pytest.mark.parametrize(
    "change", [{"num_classes": 10}, {"use_scale_shift_norm": False}, {"num_channels": 128}, {"attention": (2, 3)}]
)
def test_one_that_differs_is_not_recognised(change):
    with pytest.raises(InputError, match="nothing tells"):
        unet_of(shapes_in_files(dataclasses.replace(IMAGENET, **change)), {}, {})


def test_what_is_taken_of_a_published_network_is_assumed(read, monkeypatch):
    """With a small one in the place of the published, whose weights take a gigabyte."""
    from ddgan_deploy.families.consistency import model

    known = {"image_size": 16, "num_head_channels": 16}
    told = model.told_by_unet(shapes_in_files(CLASSES))
    like = dataclasses.replace(model.PUBLISHED[0], told=told, classes=(3,), known=known)
    monkeypatch.setattr(model, "PUBLISHED", (like,))
    found = read(config=None)
    sampling = found.choose()
    assumed = {each.name: each for each in found.assumed(sampling)}
    assert list(assumed) == ["image_size", "num_head_channels", *DEFAULTS]
    # So it is where the artifact is read again: what was assumed there is no statement.
    again = read(config=None, known=told_by(found.model, sampling), guessed=list(assumed))
    assert again.assumed(sampling) == tuple(assumed.values())
    stated = read(config=None, known=told_by(found.model, sampling))
    assert stated.assumed(sampling) == ()
    assert assumed["image_size"].value == "16"
    assert (
        assumed["image_size"].source
        == "of the published cd_imagenet64 or ct_imagenet64, whose keys and shapes these are"
    )


@pytest.mark.parametrize(
    ("name", "mode"), [("cd_cat256_l2", "distillation"), ("ct_cat256", "training"), ("mine", "distillation")]
)
def test_how_it_was_trained_is_assumed(read, name, mode):
    found = read(config=CLASSES.arguments, name=f"{name}.safetensors")
    assumed = {each.name: each for each in found.assumed(found.choose())}
    assert list(assumed) == DEFAULTS
    assert assumed["training_mode"].value == f'"consistency_{mode}"'
    assert assumed["training_mode"].source.startswith("the networks of EDM, which are no consistency models, have")
    assert [assumed[name].value for name in DEFAULTS[1:]] == ["0.002", "80.0"]


def test_what_a_config_states_is_not_assumed(read):
    stated = {"training_mode": "consistency_training", "sigma_min": 0.01, "sigma_max": 50}
    found = read(config=CLASSES.arguments | stated)
    sampling = found.choose()
    assert found.assumed(sampling) == ()
    assert (sampling.training_mode, sampling.sigma_min, sampling.sigma_max) == tuple(stated.values())


@pytest.mark.parametrize(
    ("config", "steps", "ts"),
    [
        ({}, None, ()),
        ({}, 1, ()),
        ({"ts": "", "steps": 40}, None, ()),
        ({"sampler": "onestep", **TWO_STEPS}, None, ()),
        (TWO_STEPS, None, (0, 22, 39)),
        (TWO_STEPS, 2, (0, 22, 39)),
        ({"sampler": "multistep", "ts": [0, 39], "steps": 40}, 1, (0, 39)),
        ({"ts": " 0, 67,150", "steps": 151}, None, (0, 67, 150)),
    ],
)
def test_how_many_steps(read, config, steps, ts):
    sampling = read(config=ARGUMENTS | config).choose(steps)
    assert sampling.ts == ts and sampling.steps == max(1, len(ts) - 1)


@pytest.mark.parametrize(
    "change",
    [{}, TWO_STEPS, {**TWO_STEPS, "sigma_min": 0.01, "sigma_max": 50, "clip_denoised": False}, {"num_heads": 2}],
)
def test_an_artifact_tells_all_that_its_config_had(read, change):
    first = read(config=ARGUMENTS | change)
    sampling = first.choose()
    again = read(config=None, known=told_by(first.model, sampling), guessed=["sigma_max"])
    assert again.model == first.model
    assert again.choose(sampling.steps) == again.choose() == sampling
    assert [each.name for each in again.assumed(sampling)] == ["sigma_max"]


@pytest.mark.parametrize(
    ("name", "kind"), [("ema_0.9999_600000", "ema"), ("model600000", "raw"), ("cd_imagenet64_l2", "as stored")]
)
def test_a_name_tells_which_weights_they_are(read, name, kind):
    assert read(name=f"{name}.safetensors").kind == kind


def test_other_architectures_keep_their_heads(read):
    it = network(num_heads=2, num_heads_upsample=8)
    assert [read(stored(it), it.arguments).model.heads(64, up) for up in (False, True)] == [2, 8]
