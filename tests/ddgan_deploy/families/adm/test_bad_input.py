"""What is wrong with an ADM's files is told in one line that names it and the fix."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddgan_deploy.errors import InputError
from ddgan_deploy.export import cli
from ddgan_deploy.families.adm.arguments import _FORMS
from ddgan_deploy.families.adm.model import classifier_of, unet_of
from tests.ddgan_deploy.families.adm.made import made, shapes
from tests.ddgan_deploy.families.adm.small import ARGUMENTS, CLASSIFIER, NETWORKS, UNET, UPSAMPLER, one_line


def but(weights, changes):
    """With other weights, and without those that are None."""
    return {name: value for name, value in {**weights, **changes}.items() if value is not None}


def test_what_is_right_is_read(sampled):
    assert sampled().steps == 5
    assert sampled(classifier="classifier.safetensors", guidance=-2.5, sampler="ddim").guidance == -2.5
    assert sampled("upsampler.safetensors", UPSAMPLER.arguments).sampler == "ddpm"


# Files.


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"ckpt": "classifier.safetensors"},
            "classifier.safetensors is a classifier: give a UNet by --ckpt, and this by --classifier",
        ),
        (
            {"classifier": "unet.safetensors"},
            "unet.safetensors is a UNet: give --classifier a classifier, and this by --ckpt",
        ),
        ({"ckpt": "opt.pt"}, "opt.pt is the state of an optimizer, which holds no network: give the weights"),
        ({"classifier": "opt.pt"}, "opt.pt holds no classifier of noisy images: give --classifier a published one's"),
        ({"classifier": "none.pt"}, "none.pt does not exist: give"),
        (
            {"ckpt": "upsampler.safetensors", "config": UPSAMPLER.arguments, "classifier": "classifier.safetensors"},
            "--classifier does not go with an upsampler, which is not guided: leave it out",
        ),
        ({"guidance": 1.0}, "--guidance needs a classifier to follow: give --classifier FILE, or leave it out"),
        ({"noise": "const"}, "--noise does not go with unet.safetensors, an ADM's UNet: leave it out"),
    ],
)
def test_a_wrong_file_is_told_for_what_it_is(refused, options, says):
    assert refused(**options).startswith(says)


WEIGHT = "input_blocks.1.0.in_layers.2.weight"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"middle_block.1.qkv.bias": None},
            "the key 'middle_block.1.qkv.bias' is missing, of shape [192]: the file",
        ),
        *(
            (
                {name: None},
                f"the key '{name}' is missing, or a single number: the file is incomplete",
            )
            for name in ("time_embed.0.weight", "input_blocks.0.0.weight", WEIGHT, "out.2.weight")
        ),
        ({"label_emb.weight": None}, "class_cond is stated as True, and the weights have False: correct --config, or"),
        ({"label_emb.weight": torch.tensor(1.0)}, "the key 'label_emb.weight' is missing, or a single number"),
        (
            {"out.0.bias": torch.ones(7)},
            "out.0.bias has shape [7], this architecture needs [32]: give the file as it",
        ),
        ({"more": torch.ones(1)}, "1 keys are left over, the first is 'more': this is another network"),
        ({"input_blocks.9.0.op.bias": torch.ones(1)}, "its blocks make no levels of equal length: the file is"),
        ({WEIGHT: torch.ones(20, 32, 3, 3)}, "a layer of 20 channels cannot be normalized in 32"),
        ({"out.0.bias": torch.full((32,), torch.nan)}, "out.0.bias holds NaN or infinite values: training has"),
        ({"out.0.bias": torch.ones(32).int()}, "out.0.bias is int32: give weights in floating point"),
        ({"module.out.0.bias": torch.ones(32)}, "holds 'out.0.bias' twice, with and without a prefix: keep one"),
    ],
)
def test_weights_of_a_unet(refused, changes, says):
    message = refused(but(UNET.weights, changes))
    assert message.startswith("changed.safetensors") and says in message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"out.2.positional_embedding": None},
            "its last layers are none of attention, spatial_v2, spatial, adaptive",
        ),
        (
            {"out.2.positional_embedding": torch.ones(64, 6)},
            "its 4 input blocks make no levels at 8 pixels: give the",
        ),
        ({"out.2.c_proj.weight": None}, "the key 'out.2.c_proj.weight' is missing, or a single number"),
        ({"out.2.c_proj.bias": torch.ones(4)}, "out.2.c_proj.bias has shape [4], this architecture needs [3]"),
        ({"time_embed.2.bias": None}, "the key 'time_embed.2.bias' is missing, of shape [128]"),
        ({"time_embed.0.weight": None}, "the key 'time_embed.0.weight' is missing"),
        ({"out.0.bias": torch.full((64,), torch.inf)}, "out.0.bias holds NaN or infinite values"),
    ],
)
def test_weights_of_a_classifier(refused, changes, says):
    message = refused(classifier=but(CLASSIFIER.weights, changes))
    assert message.startswith("guide.safetensors") and says in message


def test_a_classifier_of_another_size(refused):
    larger = made(pool="attention", num_classes=3, num_head_channels=16, image_size=16)
    assert "make no levels at 8 pixels: give the classifier that was trained" in refused(classifier=larger.weights)


def test_a_classifier_of_other_classes(refused):
    other = made(pool="attention", num_classes=4, num_head_channels=16)
    assert "knows 4 classes, and the UNet or --config 3: give the classifier" in refused(classifier=other.weights)


def test_classes_that_a_unet_without_them_is_to_be_guided_to(refused):
    plain = made(attention=(1,))
    config = {**plain.arguments, **CLASSIFIER.arguments, "num_classes": 5}
    assert "knows 3 classes, and the UNet or --config 5" in refused(
        plain.weights, config, classifier="classifier.safetensors"
    )


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ((), "unet.safetensors: nothing tells its image_size"),
        (("--classifier", "unet.safetensors"), "unet.safetensors is a UNet: give --classifier a classifier"),
        (("--guidance", "2"), "--guidance needs a classifier"),
        (("--guidance", "two"), "--guidance: invalid float value: 'two'"),
        (("--sampler", "euler"), "--sampler: invalid choice: 'euler'"),
        (("--truncation", "0.5"), "--truncation does not go with unet.safetensors, an ADM's UNet: leave it out"),
        (("--steps", "1"), "--steps 1 is out of range: give 2..1000"),
        (("--steps", "64", "--sampler", "ddim"), "no stride keeps 64 of 1000 steps"),
    ],
)
def test_the_command_says_it_in_one_line(files, tmp_path, monkeypatch, capsys, argv, says):
    monkeypatch.chdir(files)
    before = sorted(files.iterdir())
    config = tmp_path / "config.json"
    config.write_text(json.dumps(ARGUMENTS))
    also = [] if not argv else ["--config", str(config)]
    assert cli.main(["--ckpt", "unet.safetensors", "--steps", "5", *also, *argv]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("error: ") and output.err.count("\n") == 1 and says in output.err
    assert output.out == "" and sorted(files.iterdir()) == before


# Anything.

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 70),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["", "1,2", "8,4", "ddim25", "10,10,5", "25", "linear", "cosine", "attention", "4", "2,", "0.5,1"]),
)
values = st.one_of(plain, st.lists(plain, max_size=3), st.lists(st.lists(plain, max_size=2), max_size=2))
names = st.one_of(st.sampled_from(sorted(_FORMS)), st.text(max_size=10))
anything = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


@anything
@given(change=st.dictionaries(names, values, max_size=3), steps=st.sampled_from([None, 1, 5, 25]), ddim=st.booleans())
def test_any_config_is_taken_or_refused_in_one_line(sampled, change, steps, ddim):
    asked = {"sampler": "ddim"} if ddim else {}
    try:
        sampled(config={**ARGUMENTS, **change}, classifier="classifier.safetensors", steps=steps, **asked)
    except InputError as error:
        one_line(str(error))


@anything
@given(data=st.data(), kind=st.sampled_from(list(NETWORKS)))
def test_any_shapes_are_taken_or_refused_in_one_line(data, kind):
    it = NETWORKS[kind]
    found = shapes(it)
    for name in data.draw(st.lists(st.sampled_from(sorted(found)), min_size=1, max_size=3, unique=True)):
        other = data.draw(st.one_of(st.none(), st.lists(st.integers(1, 130), max_size=4).map(tuple)))
        found = {key: other if key == name else shape for key, shape in found.items() if key != name or other}
    try:
        if it.pool:
            classifier_of(found, {}, {"num_head_channels": 16}, it.image_size)
        else:
            unet_of(found, {}, {"image_size": 8, "small_size": 4, "num_heads": 4, "use_new_attention_order": False})
    except InputError as error:
        one_line(str(error))
