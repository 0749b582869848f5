"""What is wrong with what is said of an ADM, by a config or by flags, is told in one line that names it and the fix."""

from __future__ import annotations

import pytest

from tests.ddgan_deploy.families.adm.small import ARGUMENTS, UPSAMPLER


def without(*names):
    return {name: value for name, value in ARGUMENTS.items() if name not in names}


# What nothing tells.


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            None,
            "unet.safetensors: nothing tells its image_size, and it is none of the published networks: give --config",
        ),
        (without("image_size", "attention_resolutions"), "nothing tells its image_size"),
        (
            without("num_heads", "num_head_channels"),
            "nothing tells how many heads its attention has, and it is none of",
        ),
        (without("use_new_attention_order"), "nothing tells its use_new_attention_order"),
    ],
)
def test_what_must_be_stated(refused, config, says):
    assert says in refused(config=config)


def test_what_an_upsampler_must_have_stated(refused):
    config = dict(UPSAMPLER.arguments)
    del config["small_size"]
    message = refused("upsampler.safetensors", config)
    assert "nothing tells its small_size, and it is none of the published networks: give --config a JSON" in message


def test_a_size_that_attention_tells(sampled):
    assert sampled(config=without("image_size"))


def test_how_many_steps(refused):
    assert refused(steps=None) == "nothing tells in how many steps to sample: give --steps T, 2..1000"


# What is stated.


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"foo": 1}, "config.json: the argument 'foo' is unknown: leave it out"),
        ({"num_head": 1}, "config.json: the argument 'num_head' is unknown; did you mean num_heads? Correct it"),
        ({"--image-size": 8}, "the argument '--image-size' is unknown; did you mean image_size? Correct it"),
        ({"num_heads": "4"}, "config.json: num_heads is '4', it must be a positive integer: correct it"),
        ({"num_heads": True}, "num_heads is True, it must be a positive integer"),
        ({"num_heads": 0}, "num_heads is 0, it must be a positive integer"),
        ({"num_heads": 2**31}, "num_heads is 2147483648, it must be a positive integer"),
        ({"num_head_channels": -2}, "num_head_channels is -2, it must be an integer, -1 for none"),
        ({"image_size": 8.0}, "image_size is 8.0, it must be a positive integer"),
        ({"learn_sigma": "yes"}, "learn_sigma is 'yes', it must be true or false"),
        ({"learn_sigma": 2}, "learn_sigma is 2, it must be true or false"),
        ({"use_ddim": None}, "use_ddim is None, it must be true or false"),
        ({"channel_mult": [[1], [2]]}, "channel_mult is [[1], [2]], it must be numbers, such as 1,2,3,4"),
        ({"channel_mult": [1e308, 2]}, "channel_mult is [1e+308, 2], it must be numbers"),
        ({"channel_mult": "1,a"}, "channel_mult is '1,a', it must be numbers"),
        ({"channel_mult": 2}, "channel_mult is 2, it must be numbers"),
        ({"attention_resolutions": {"4": 1}}, "attention_resolutions is {'4': 1}, it must be numbers"),
        ({"noise_schedule": "sqrt"}, "noise_schedule is 'sqrt', it must be one of linear, cosine"),
        ({"noise_schedule": ["linear"]}, "noise_schedule is ['linear'], it must be one of linear, cosine"),
        ({"classifier_pool": "max"}, "classifier_pool is 'max', it must be one of attention, adaptive, spatial, spat"),
        ({"timestep_respacing": [25]}, "timestep_respacing is [25], it must be a text, such as 250 or ddim25"),
        ({"classifier_scale": float("nan")}, "classifier_scale is nan, it must be a finite number"),
        ({"classifier_scale": "1"}, "classifier_scale is '1', it must be a finite number"),
    ],
)
def test_names_and_types(refused, change, says):
    assert says in refused(config={**ARGUMENTS, **change})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "config.json holds a list: give --config a JSON object"),
        ('{"num_heads": 1, "num_heads": 2}', "'num_heads' stands there more than once: keep one"),
        ("{", "config.json is not JSON"),
        ("[" * 10**5, "config.json is not JSON"),
        (f'{{"num_heads": {"9" * 5000}}}', "config.json is not JSON"),
        (f'{{"num_heads": {"9" * 4000}}}', "num_heads is 99"),
        (f'{{"{"x" * 10**5}": 1}}', "is unknown: leave it out"),
    ],
)
def test_what_is_no_config(refused, text, says):
    assert says in refused(config=text)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"num_channels": 64},
            "num_channels is stated as 64, and the weights have 32: correct --config, or give the ch",
        ),
        ({"num_res_blocks": 2}, "num_res_blocks is stated as 2, and the weights have 1"),
        ({"channel_mult": "1,3"}, "channel_mult is stated as (1.0, 3.0), and the weights have (1.0, 2.0)"),
        ({"attention_resolutions": "8,4"}, "attention_resolutions is stated as (8.0, 4.0), and the weights have (4,)"),
        ({"attention_resolutions": ""}, "attention_resolutions is stated as (), and the weights have (4,)"),
        ({"image_size": 16}, "attention_resolutions is stated as (4.0,), and the weights have (8,)"),
        ({"use_scale_shift_norm": False}, "use_scale_shift_norm is stated as False, and the weights have True"),
        ({"resblock_updown": False}, "resblock_updown is stated as False, and the weights have True"),
        ({"learn_sigma": False}, "learn_sigma is stated as False, and the weights have True"),
        ({"class_cond": False}, "class_cond is stated as False, and the weights have True"),
        ({"num_classes": 4}, "num_classes is stated as 4, and the weights have 3"),
        ({"small_size": 4}, "small_size is stated as 4, and the weights have 0"),
        ({"large_size": 16}, "large_size 16 contradicts image_size 8, the same in other words: leave one out"),
        ({"image_size": 7}, "image_size 7 cannot be halved 1 times: correct --config"),
        ({"image_size": 2**30}, "image_size 1073741824 is out of range: give 1..4096"),
        (
            {"num_heads": 5},
            "num_heads 5 does not divide the 64 channels of input_blocks.3.1: give --config a JSON file",
        ),
        ({"num_heads_upsample": 7}, "num_heads_upsample 7 does not divide the 64 channels of output_blocks.0.1"),
        ({"num_head_channels": 48}, "num_head_channels 48 does not divide the 64 channels of input_blocks.3.1"),
        ({"num_head_channels": 2**30}, "num_head_channels 1073741824 does not divide the 64 channels"),
        ({"classifier_width": 64}, "classifier_width is stated as 64, and the weights have 32"),
        ({"classifier_depth": 3}, "classifier_depth is stated as 3, and the weights have 1"),
        ({"classifier_pool": "spatial"}, "classifier_pool is stated as 'spatial', and the weights have 'attention'"),
        ({"classifier_channel_mult": "1,1"}, "classifier_channel_mult is stated as (1.0, 1.0), and the weights have"),
        ({"classifier_attention_resolutions": "8"}, "classifier_attention_resolutions is stated as (8.0,), and the w"),
        ({"classifier_resblock_updown": False}, "classifier_resblock_updown is stated as False, and the weights have"),
        ({"classifier_use_scale_shift_norm": False}, "classifier_use_scale_shift_norm is stated as False, and the we"),
        (
            {"classifier_num_head_channels": 48},
            "classifier_num_head_channels 48 does not divide the 64 channels of middle_block.1: give --config a JSON "
            "file with the classifier_num_head_channels that it was trained with",
        ),
    ],
)
def test_a_config_against_the_weights(refused, change, says):
    assert says in refused(config={**ARGUMENTS, **change}, classifier="classifier.safetensors")


@pytest.mark.parametrize("size", [9, 2**31 - 1])
def test_an_image_that_is_not_enlarged(refused, size):
    message = refused("upsampler.safetensors", {**UPSAMPLER.arguments, "small_size": size})
    assert f"small_size {size} is out of range: give 1..8, the size that it is enlarged to" in message


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        ({"timestep_respacing": "25"}, {}, "--steps 5 contradicts timestep_respacing '25', which keeps 25: correct"),
        ({"timestep_respacing": 25}, {}, "--steps 5 contradicts timestep_respacing '25', which keeps 25"),
        ({"use_ddim": True}, {"sampler": "ddpm"}, "--sampler ddpm contradicts the config's use_ddim true: correct"),
        ({"classifier_scale": 2}, {"guidance": 3.0}, "--guidance 3.0 contradicts the config's classifier_scale 2.0"),
        ({"classifier_scale": 1e6}, {}, "guidance 1e+06 is out of range: give --guidance, or classifier_scale in --c"),
        ({}, {"guidance": float("nan")}, "guidance nan is out of range: give --guidance"),
        ({}, {"guidance": float("inf")}, "guidance inf is out of range"),
        ({}, {"guidance": -1000.5}, "guidance -1000.5 is out of range: give --guidance, or classifier_scale in --conf"),
        ({}, {"steps": 1}, "--steps 1 is out of range: give 2..1000, the steps it was trained for"),
        ({}, {"steps": 1001}, "--steps 1001 is out of range: give 2..1000"),
        ({"diffusion_steps": 100}, {"steps": 101}, "--steps 101 is out of range: give 2..100"),
        ({}, {"steps": 64, "sampler": "ddim"}, 'for ddim64: give 63 steps, or a --config with timestep_respacing "64"'),
        ({"timestep_respacing": "ddim64"}, {"steps": None}, "no stride keeps 64 of 1000 steps for ddim64"),
        ({"timestep_respacing": "1"}, {"steps": None}, "timestep_respacing '1' keeps 1 step, and the published proces"),
        ({"timestep_respacing": "fast27"}, {"steps": None}, "timestep_respacing 'fast27' is unknown: give counts"),
        ({"timestep_respacing": "9" * 999}, {"steps": None}, "is unknown: give counts such as 25"),
        ({"timestep_respacing": ",".join("1" * 1001)}, {"steps": None}, "has 1001 sections of 1000 steps: give fewer"),
        ({"diffusion_steps": 2**30}, {}, "diffusion_steps 1073741824 is out of range: give 2..100000"),
        (
            {"diffusion_steps": 2**30, "timestep_respacing": "ddim25"},
            {"steps": None},
            "diffusion_steps 1073741824 is out of range",
        ),
        ({"diffusion_steps": 10}, {}, "a linear schedule of 10 diffusion_steps is no process: correct --config"),
    ],
)
def test_a_process_that_cannot_be(refused, change, options, says):
    assert says in refused(config={**ARGUMENTS, **change}, classifier="classifier.safetensors", **options)
