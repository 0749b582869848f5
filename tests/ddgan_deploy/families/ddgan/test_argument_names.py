"""Names of arguments: published ones pass, others are refused with what they may be meant for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.argument_names import PUBLISHED
from ddgan_deploy.families.ddgan.training_args import read_config
from tests.conftest import DATA, golden_case

TRAINING_STATE = DATA / "training_state" / "content.pth"


def refusal(tmp_path: Path, content: object) -> str:
    path = tmp_path / "args.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError) as caught:
        read_config(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 500
    return message


def training_state(path: Path, **changes: Any) -> Path:
    """The golden training state with other arguments."""
    content = torch.load(TRAINING_STATE, weights_only=False)
    torch.save({**content, "args": argparse.Namespace(**{**vars(content["args"]), **changes})}, path)
    return path


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("not-use-tanh", "not_use_tanh"),
        ("--not_use_tanh", "not_use_tanh"),
        ("no_use_tanh", "not_use_tanh"),
        ("betamax", "beta_max"),
        ("beta-max", "beta_max"),
        ("Beta_Max", "beta_max"),
        ("num_timestep", "num_timesteps"),
        ("attn_resolution", "attn_resolutions"),
        (" nz", "nz"),
    ],
)
def test_a_misspelt_name_is_refused_and_the_right_one_named(tmp_path, name, meant):
    assert f"{name!r} is unknown; did you mean {meant}?" in refusal(tmp_path, {"image_size": 16, name: 1})


def test_a_name_that_means_nothing_is_refused(tmp_path):
    assert "'quantum' is unknown: leave it out" in refusal(tmp_path, {"quantum": 1})
    assert "..." in refusal(tmp_path, {"q" * 5000: 1})
    assert r"'a\nb' is unknown" in refusal(tmp_path, {"a\nb": 1})


def test_sections_and_names_twice_are_refused(tmp_path):
    assert "'model' is a section" in refusal(tmp_path, {"model": {"not_use_tanh": True}})
    assert "'beta_max' stands there more than once" in refusal(tmp_path, '{"beta_max": 20, "beta_max": 12}')


def test_all_that_the_published_scripts_say_passes(tmp_path):
    path = tmp_path / "args.json"
    args = vars(torch.load(TRAINING_STATE, weights_only=False)["args"])
    others = dict.fromkeys(PUBLISHED - args.keys(), "anything") | {"patch_size": 1, "text_encoder": None}
    path.write_text(json.dumps(others | args))
    assert read_config(path)["num_timesteps"] == 4


@pytest.mark.parametrize(
    ("arguments", "gives"),
    [
        ({"AutoEncoder_ckpt": "vae.ckpt"}, "latents"),
        ({"AutoEncoder_config": "vae.yaml"}, "latents"),
        ({"scale_factor": 16.0}, "latents"),
        ({"first_stage_model": "vq-f4"}, "latents"),
        ({"use_vae": True}, "latents"),
        ({"patch_size": 2}, "patches"),
        ({"use_pytorch_wavelet": True}, "wavelet"),
        ({"current_resolution": 128}, "wavelet"),
        ({"net_type": "wavelet"}, "wavelet"),
        ({"dwt_levels": 2}, "wavelet"),
        ({"text_encoder": "google/t5-v1_1-base"}, "text"),
    ],
)
def test_arguments_of_networks_that_give_no_picture(tmp_path, arguments, gives):
    said = refusal(tmp_path, arguments)
    assert repr(next(iter(arguments))) in said and gives in said
    with pytest.raises(InputError, match=gives):
        load_checkpoint(training_state(tmp_path / "content.pth", **arguments))


def test_what_is_switched_off_passes(tmp_path):
    off = {"patch_size": 1, "use_pytorch_wavelet": False, "AutoEncoder_ckpt": None, "net_type": "normal"}
    assert load_checkpoint(training_state(tmp_path / "content.pth", **off, wandb_project="x")).trained_steps == 4


def test_a_training_state_as_the_config(tmp_path):
    state = training_state(tmp_path / "content.pth", beta_min=0.3, beta_max=12.0)
    weights = {f"module.{key}": value for key, value in load_checkpoint(state).weights.items()}
    torch.save(weights, tmp_path / "netG.pth")
    checkpoint = load_checkpoint(tmp_path / "netG.pth", state)
    assert (checkpoint.choose().steps, checkpoint.choose().beta_max) == (4, 12.0)
    assert checkpoint.assumed(checkpoint.choose(4)) == ()


def test_a_file_without_arguments_is_no_config(tmp_path):
    golden = golden_case("biggan")
    with pytest.raises(InputError, match="holds no training arguments: give --config the run's content.pth"):
        load_checkpoint(golden.path, golden.path)


def test_arguments_under_lightnings_name(tmp_path):
    torch.save({"state_dict": {}, "hyper_parameters": {"beta_max": 12.0, "num_timesteps": 4}}, tmp_path / "last.ckpt")
    assert read_config(tmp_path / "last.ckpt") == {"beta_max": 12.0, "num_timesteps": 4}


def test_a_config_is_no_larger_than_arguments_are(tmp_path):
    assert "is larger than 1 MiB: give --config a JSON file" in refusal(tmp_path, " " * (1 << 20) + "{}")
    with pytest.raises(InputError, match="/dev/zero is larger than 1 MiB"):
        read_config(Path("/dev/zero"))


@pytest.mark.parametrize("value", [None, "4", torch.tensor(4)], ids=["none", "text", "tensor"])
def test_the_config_stands_in_for_what_a_training_state_holds_of_a_wrong_type(tmp_path, value):
    state = training_state(tmp_path / "content.pth", num_timesteps=value)
    with pytest.raises(InputError, match="num_timesteps is .*: correct it, by stating it in --config"):
        load_checkpoint(state)
    (tmp_path / "args.json").write_text('{"num_timesteps": 4}')
    assert load_checkpoint(state, tmp_path / "args.json").trained_steps == 4
