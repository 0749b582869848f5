"""A --config file is read, or refused in one line; the options that cannot run are named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.training_args import read_config
from tests.conftest import DATA

NET_G = DATA / "biggan" / "netG.pth"
ARGS: dict[str, Any] = json.loads((DATA / "biggan" / "args.json").read_text())
SIZES: dict[str, Any] = dict(image_size=32, num_channels=3, num_channels_dae=8, ch_mult=(1, 2))
SIZES |= dict(num_res_blocks=1, nz=4, z_emb_dim=4, n_mlp=1)


def config_file(folder: Path, content: object) -> Path:
    path = folder / "args.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def refusal(config: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_checkpoint(NET_G, config)
    message = str(caught.value)
    assert str(config) in message
    assert "\n" not in message
    return message


def test_all_arguments_of_the_training_script_are_read():
    checkpoint = load_checkpoint(NET_G, DATA / "biggan" / "args.json")
    for name, value in dataclasses.asdict(checkpoint.model).items():
        assert value == (tuple(ARGS[name]) if isinstance(ARGS[name], list) else ARGS[name])
    assert checkpoint.choose(4).beta_max == 20


def test_arguments_that_do_not_concern_sampling_are_left_alone(tmp_path):
    config = config_file(tmp_path, {**ARGS, "dataset": ["x"], "lr_g": None, "num_epoch": "many"})
    assert load_checkpoint(NET_G, config).model.nz == ARGS["nz"]


def test_what_shapes_cannot_tell_is_taken_from_the_config(tmp_path):
    told = {"not_use_tanh": True, "skip_rescale": False, "centered": False, "fir_kernel": [1, 2, 2, 1]}
    config = load_checkpoint(NET_G, config_file(tmp_path, told)).model
    assert (config.not_use_tanh, config.skip_rescale, config.centered) == (True, False, False)
    assert config.fir_kernel == (1, 2, 2, 1)


def test_flags_may_be_numbers_and_choices_in_capitals(tmp_path):
    config = config_file(tmp_path, {"fir": 1, "not_use_tanh": 0, "resblock_type": "BigGAN"})
    assert load_checkpoint(NET_G, config).model.resblock_type == "biggan"


def test_absent(tmp_path):
    assert "does not exist" in refusal(tmp_path / "args.json")


def test_folder(tmp_path):
    assert "cannot be read (Is a directory)" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "nz: 16",
        "{'nz': 16}",
        '{"nz": 16',
        "[" * 100_000,
        '{"nz": ' + "1" * 5000 + "}",
        "\ufeff{}",
        "{}{}",
    ],
    ids=["empty", "yaml", "quotes", "truncated", "deep", "huge number", "byte order mark", "two"],
)
def test_not_json(tmp_path, content):
    message = refusal(config_file(tmp_path, content))
    assert "is not JSON" in message
    assert len(message) < 500


def test_not_text(tmp_path):
    path = tmp_path / "args.json"
    path.write_bytes(b"\xff\xfe\x00\x80")
    assert "is not JSON" in refusal(path)


@pytest.mark.parametrize("content", [[1], 3, "x", None, True])
def test_no_object(tmp_path, content):
    assert "give --config a JSON object" in refusal(config_file(tmp_path, json.dumps(content)))


@pytest.mark.parametrize(
    ("names", "wrong", "wanted"),
    [
        (
            ("image_size", "num_channels", "num_channels_dae", "num_res_blocks", "nz", "z_emb_dim", "n_mlp"),
            ["16", 16.0, None, True, [16], {}, 10**30],
            "an integer",
        ),
        (("num_timesteps",), ["4", 4.5, None, False], "an integer"),
        (
            ("ch_mult", "attn_resolutions"),
            [16, "16", None, ["16"], [1.5], [True], [None], {"0": 1}, [10**30]],
            "a list of integers",
        ),
        (("fir_kernel",), [1, "1331", [None], [True], [[1, 3, 3, 1]]], "a list of numbers"),
        (
            ("fir", "skip_rescale", "conditional", "centered", "not_use_tanh", "use_geometric"),
            ["true", 2, -1, None, [], 1.0],
            "true or false",
        ),
        (
            ("resblock_type", "progressive", "progressive_input", "progressive_combine", "embedding_type"),
            [1, None, ["none"], True],
            "a text",
        ),
        (("beta_min", "beta_max"), ["0.1", None, True, [0.1], 10**400], "a finite number"),
    ],
    ids=["sizes", "steps", "lists", "kernel", "flags", "choices", "betas"],
)
def test_wrong_types(tmp_path, names, wrong, wanted):
    for name in names:
        for value in wrong:
            path = config_file(tmp_path, {name: value})
            with pytest.raises(InputError) as caught:
                read_config(path)
            assert f"{path}: {name} is " in str(caught.value)
            assert f"it must be {wanted}: correct it" in str(caught.value)


@pytest.mark.parametrize("name", ["beta_min", "beta_max", "fir_kernel"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite(tmp_path, name, number):
    value = f"[1, 3, 3, {number}]" if name == "fir_kernel" else number
    assert f"{name} is " in refusal(config_file(tmp_path, f'{{"{name}": {value}}}'))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_channels", 1),
        ("num_channels_dae", 32),
        ("ch_mult", [1, 2, 2]),
        ("ch_mult", [1]),
        ("ch_mult", []),
        ("num_res_blocks", 2),
        ("nz", 100),
        ("z_emb_dim", 256),
        ("n_mlp", 3),
        ("resblock_type", "biggan_oneadagn"),
        ("progressive", "output_skip"),
        ("progressive_input", "none"),
        ("conditional", False),
        ("fir", False),
        ("image_size", 33),
        ("attn_resolutions", []),
        ("attn_resolutions", [5]),
    ],
)
def test_contradictions_with_the_weights(tmp_path, name, value):
    message = refusal(config_file(tmp_path, {**ARGS, name: value}))
    assert "contradicts the weights" in message
    assert name in message
    assert str(value) in message
    assert str(NET_G) in message


@pytest.mark.parametrize("name", ["nz", "ch_mult"])
def test_a_config_over_a_training_state_must_fit_the_weights(tmp_path, name):
    content = DATA / "training_state" / "content.pth"
    config = config_file(tmp_path, {name: [7] if name == "ch_mult" else 7})
    with pytest.raises(InputError, match=f"contradicts the weights: it says {name}"):
        load_checkpoint(content, config)


def test_a_config_with_other_steps_than_the_training_state(tmp_path):
    content = DATA / "training_state" / "content.pth"
    with pytest.raises(InputError, match="num_timesteps 7, .* was trained with 4: correct the config"):
        load_checkpoint(content, config_file(tmp_path, {"num_timesteps": 7}))


def test_a_config_has_precedence_over_a_training_state(tmp_path):
    content = DATA / "training_state" / "content.pth"
    checkpoint = load_checkpoint(content, config_file(tmp_path, {"not_use_tanh": True, "beta_max": 7.0}))
    assert checkpoint.model.not_use_tanh
    assert checkpoint.choose(4).beta_max == 7


def test_what_is_known_holds_where_nothing_else_says(tmp_path):
    content = DATA / "training_state" / "content.pth"
    known = {"not_use_tanh": True, "beta_max": 7.0}
    assert not load_checkpoint(content, known=known).model.not_use_tanh
    assert load_checkpoint(NET_G, known=known).model.not_use_tanh
    assert load_checkpoint(NET_G, known=known).choose(4).beta_max == 7


def test_weights_override_what_is_known():
    known = dataclasses.asdict(load_checkpoint(NET_G).model) | {"num_channels_dae": 999, "image_size": 7, "nz": 1}
    assert load_checkpoint(NET_G, known=known).model == load_checkpoint(NET_G).model


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"resblock_type": "ddpm"}, "resblock_type 'ddpm'"),
        ({"progressive": "residual"}, "progressive 'residual'"),
        ({"embedding_type": "fourier"}, "embedding_type 'fourier' is not supported"),
        ({"fir_kernel": []}, "fir_kernel"),
        ({"fir_kernel": [1, 2, 1]}, "fir_kernel"),
    ],
)
def test_what_the_published_code_cannot_run_is_named(tmp_path, change, says):
    assert says in refusal(config_file(tmp_path, {**ARGS, **change}))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"beta_min": 0}, "beta_min"),
        ({"beta_min": -1}, "beta_min"),
        ({"beta_min": 30}, "beta_min"),
        ({"beta_max": 0}, "beta_max"),
        ({"use_geometric": True}, "geometric"),
    ],
)
def test_schedules_that_are_none(tmp_path, content, says):
    checkpoint = load_checkpoint(NET_G, config_file(tmp_path, content))
    with pytest.raises(InputError, match=says):
        checkpoint.choose(4)


@pytest.mark.parametrize("steps", [0, -1, 65, 10000])
def test_steps_out_of_range(steps):
    with pytest.raises(InputError, match=rf"steps {steps} is out of range: give 1\.\.64"):
        load_checkpoint(NET_G).choose(steps)


def test_steps_that_contradict_the_config(tmp_path):
    checkpoint = load_checkpoint(NET_G, config_file(tmp_path, {"num_timesteps": 2}))
    with pytest.raises(InputError, match=r"--steps 4 contradicts .* num_timesteps 2: give --steps 2"):
        checkpoint.choose(4)


# The plain data itself.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resblock_type", "ddpm"),
        ("progressive", "residual"),
        ("progressive_input", "skip"),
        ("progressive_combine", "mean"),
        ("embedding_type", "fourier"),
    ],
)
def test_choices_that_cannot_run_are_named(name, value):
    with pytest.raises(InputError, match=f"{name} '{value}' is not supported"):
        GeneratorConfig(**SIZES, **{name: value})


def test_output_skip_without_fir_is_named():
    with pytest.raises(InputError, match="progressive 'output_skip' without fir is not supported"):
        GeneratorConfig(**SIZES, progressive="output_skip", fir=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_size", 0),
        ("image_size", 31),
        ("num_channels", 0),
        ("num_channels_dae", 2),
        ("num_channels_dae", 7),
        ("ch_mult", ()),
        ("ch_mult", (1, 0)),
        ("num_res_blocks", 0),
        ("nz", -1),
        ("z_emb_dim", 0),
        ("n_mlp", -1),
        ("fir_kernel", (1, 1)),
    ],
)
def test_sizes_that_are_none_are_named(name, value):
    with pytest.raises(InputError, match=name):
        GeneratorConfig(**{**SIZES, name: value})
