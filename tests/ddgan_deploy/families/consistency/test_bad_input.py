"""What is wrong with a consistency model's file, or with what is said of it, is one line that names it and the fix."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from ddgan_deploy.errors import InputError
from ddgan_deploy.export import cli
from ddgan_deploy.families.consistency.arguments import _FORMS
from tests.ddgan_deploy.families.adm.small import one_line
from tests.ddgan_deploy.families.consistency.small import ARGUMENTS, CLASSES, TWO_STEPS, stored

QKV = "middle_block.1.qkv.weight"


def without(*names):
    return {name: value for name, value in ARGUMENTS.items() if name not in names}


# Files.


@pytest.mark.parametrize("config", [ARGUMENTS, None])
def test_an_edm_by_its_name(refused, config):
    message = refused(name="edm_imagenet64_ema.safetensors", config=config)
    assert message.startswith("edm_imagenet64_ema.safetensors is an EDM's network by its name, which is no consistency")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({QKV: CLASSES.weights[QKV]}, f"{QKV} has shape [192, 64, 1], this architecture needs [192, 64, 1, 1]: give"),
        ({QKV: torch.ones(192, 64, 3, 3)}, f"{QKV} has shape [192, 64, 3, 3], this architecture needs [192, 64, 1, 1]"),
        ({"middle_block.1.qkv.bias": None}, "the key 'middle_block.1.qkv.bias' is missing, of shape [192]: the file"),
        ({"out.2.weight": torch.ones(6, 32, 3, 3)}, "out.2.weight has shape [6, 32, 3, 3], this architecture needs [3"),
        (
            {"input_blocks.0.0.weight": torch.ones(32, 6, 3, 3)},
            "has shape [32, 6, 3, 3], this architecture needs [32, 3",
        ),
        ({"label_emb.weight": None}, "class_cond is stated as True, and the weights have False: correct --config"),
        ({"more": torch.ones(1)}, "1 keys are left over, the first is 'more': this is another network"),
        ({"out.0.bias": torch.full((32,), torch.nan)}, "out.0.bias holds NaN or infinite values"),
        ({"module.out.0.bias": torch.ones(32)}, "holds 'out.0.bias' twice, with and without a prefix: keep one"),
    ],
)
def test_weights(refused, changes, says):
    weights = {name: value for name, value in (stored(CLASSES) | changes).items() if value is not None}
    message = refused(weights)
    assert message.startswith("model.safetensors") and says in message


def test_the_way_down_alone(refused):
    weights = {name: value for name, value in stored(CLASSES).items() if not name.startswith("output_blocks.")}
    assert "its blocks make no levels of equal length: the file is incomplete" in refused(weights)


@pytest.mark.parametrize("name", ["sampler", "classifier", "guidance", "truncation"])
def test_flags_of_other_families(refused, name):
    message = refused(asked={name: "ddim"})
    assert message == f"--{name} does not go with model.safetensors, a consistency model: leave it out"


def test_raw_weights(refused, read):
    message = refused(name="ema_0.9999_600000.safetensors", weights="raw")
    assert message.startswith("--weights raw does not go with ema_0.9999_600000.safetensors, which holds one set of")
    assert read(name="model600000.safetensors", weights="raw").kind == "raw"


# What is stated.


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (None, "model.safetensors: nothing tells how many heads its attention has, and it is none of the published"),
        (without("num_heads", "num_head_channels"), "give --config a JSON file with num_heads or num_head_channels"),
        (without("image_size", "attention_resolutions"), "nothing tells its image_size, and it is none of the publish"),
    ],
)
def test_what_must_be_stated(refused, config, says):
    message = refused(config=config)
    assert says in message and "use_new_attention_order" not in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"foo": 1}, "config.json: the argument 'foo' is unknown: leave it out"),
        ({"sigma_mx": 1}, "config.json: the argument 'sigma_mx' is unknown; did you mean sigma_max? Correct it"),
        ({"noise_schedule": "linear"}, "the argument 'noise_schedule' is unknown"),
        ({"training_mode": "edm"}, "config.json: training_mode edm makes no consistency model: give one, or correct"),
        ({"training_mode": "progdist"}, "training_mode progdist makes no consistency model"),
        (
            {"training_mode": "cd"},
            "training_mode is 'cd', it must be one of consistency_distillation, consistency_trai",
        ),
        ({"sampler": "heun"}, "sampler is 'heun', it must be one of onestep, multistep"),
        ({"ts": "0,a"}, "ts is '0,a', it must be indices, such as 0,22,39"),
        ({"ts": "0,-1"}, "ts is '0,-1', it must be indices"),
        ({"ts": [0, 1.5]}, "ts is [0, 1.5], it must be indices"),
        ({"ts": 22}, "ts is 22, it must be indices"),
        ({"steps": "40"}, "steps is '40', it must be a positive integer"),
        ({"sigma_min": 0}, "sigma_min is 0, it must be a positive number"),
        ({"sigma_max": float("inf")}, "sigma_max is inf, it must be a positive number"),
        ({"sigma_max": 0.002}, "sigma_min 0.002 and sigma_max 0.002 are no two levels of noise: give --config a small"),
        ({"sigma_max": 1e308}, "sigma_max 1e+308 are no two levels of noise"),
        ({"learn_sigma": True}, "learn_sigma is stated as True, and the weights have False"),
        ({"num_classes": 1000}, "num_classes is stated as 1000, and the weights have 3"),
        ({"use_scale_shift_norm": False}, "use_scale_shift_norm is stated as False, and the weights have True"),
        ({"num_heads": 5}, "num_heads 5 does not divide the 64 channels of input_blocks.3.1"),
    ],
)
def test_a_config(refused, change, says):
    assert says in refused(config=ARGUMENTS | change)


@pytest.mark.parametrize(
    ("change", "steps", "says"),
    [
        (
            {},
            2,
            '--steps 2 needs to know the levels: give --config a JSON file with ts and steps, such as {"ts": "0,22',
        ),
        ({"steps": 40}, 2, "--steps 2 needs to know the levels"),
        ({}, 0, "--steps 0 is out of range: give 1, or as many as ts of --config makes"),
        ({}, -3, "--steps -3 is out of range"),
        ({"sampler": "multistep"}, None, "sampler multistep needs to know the levels"),
        ({"ts": "0,22,39"}, None, "ts '0,22,39' are indices of levels: give --config how many there are, as steps"),
        (TWO_STEPS, 3, "--steps 3 contradicts ts '0,22,39', which makes 2: correct --config, or leave the flag out"),
        (TWO_STEPS, 1, "--steps 1 contradicts ts '0,22,39', which makes 2"),
        ({"sampler": "onestep"}, 2, "--steps 2 contradicts the config's sampler onestep: correct --config"),
        (
            {"ts": "0", "steps": 40},
            None,
            "ts '0' do not rise from 0 on, with a step from each to the next: give --config",
        ),
        ({"ts": "5,22,39", "steps": 40}, None, "ts '5,22,39' do not rise from 0 on"),
        ({"ts": "0,22,22,39", "steps": 40}, None, "ts '0,22,22,39' do not rise from 0 on"),
        ({"ts": "0,22,30", "steps": 40}, None, "ts '0,22,30' ends at 30 and not at 39, the last of 40 levels (steps)"),
        ({"ts": "0,22,40", "steps": 40}, None, "ts '0,22,40' ends at 40 and not at 39, the last of 40 levels"),
        ({"ts": list(range(999)), "steps": 40}, None, "ends at 998 and not at 39"),
    ],
)
def test_steps(refused, change, steps, says):
    assert says in refused(config=ARGUMENTS | change, steps=steps)


def test_the_command_says_it_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_file(stored(CLASSES), "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(ARGUMENTS))
    assert cli.main(["--ckpt", "model.safetensors", "--config", "config.json", "--steps", "2"]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("error: --steps 2 needs to know the levels") and output.err.count("\n") == 1
    assert output.out == "" and len(list(tmp_path.iterdir())) == 2


# Anything.

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 70),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["", "0,22,39", "0,39", "16", "8", "1,2", "onestep", "multistep", "edm"]),
)
values = st.one_of(plain, st.lists(plain, max_size=3))
names = st.one_of(st.sampled_from(sorted(_FORMS)), st.text(max_size=10))


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(change=st.dictionaries(names, values, max_size=3), steps=st.sampled_from([None, 1, 2, 5]))
def test_any_config_is_taken_or_refused_in_one_line(read, change, steps):
    try:
        read(config=ARGUMENTS | TWO_STEPS | change).choose(steps)
    except InputError as error:
        one_line(str(error))
