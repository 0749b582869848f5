"""What is wrong with a snapshot or with what is asked of it is said in one line."""

from __future__ import annotations

import json

import pytest
import torch

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.fastgan.config import FastganConfig, FastganSampling
from ddgan_deploy.families.fastgan.family import FAMILY
from ddgan_deploy.weight_files.objects import Saved
from tests.ddgan_deploy.families.fastgan.snapshots import NETWORKS, contents, random_state, saved, write_snapshot

CONFIG = NETWORKS["32"]
CONV = "synthesis.feat_8.1.weight"


@pytest.fixture(scope="module")
def state():
    return random_state(CONFIG)


def test_only_its_own_snapshots_are_claimed(state):
    assert FAMILY.claims(contents(CONFIG, state))
    part = {name: value for name, value in state.items() if not name.startswith("synthesis.to_big")}
    others = ({}, {"G_ema": {}}, {"G_ema": Saved("Generator", 0)}, {"netG_dict": {}}, contents(CONFIG, part))
    assert not any(map(FAMILY.claims, others))
    # A class's name alone says nothing.
    assert not FAMILY.claims({"G_ema": saved({"synthesis.b4.const": torch.zeros(1)})})


def changed(key, change):
    return lambda state: {**state, key: change(state[key])}


def without(key):
    return lambda state: {name: value for name, value in state.items() if name != key}


def beside(key):
    return lambda state: {**state, key: torch.ones(1)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda state: {k: v for k, v in state.items() if k != f"{CONV}_u"},
            rf"'{CONV}_u' is missing, of shape \[64\]",
        ),
        (
            changed(f"{CONV}_orig", lambda w: w[:2].clone()),
            rf"{CONV}_orig has shape \[2, 64, 3, 3\], .* \[64, 64, 3, 3\]",
        ),
        (
            lambda state: {**state, "synthesis.feat_8.9.weight": torch.ones(1)},
            "1 keys are left over, .*feat_8.9.weight",
        ),
        (lambda state: {**state, "synthesis.feat_512.2.weight": torch.ones(1)}, "1 keys are left over"),
        (changed(f"{CONV}_orig", lambda w: w * torch.nan), rf"{CONV}_orig holds NaN or infinite values"),
        (changed(f"{CONV}_orig", lambda w: w.to(torch.int32)), rf"{CONV}_orig is int32"),
        (changed(f"{CONV}_u", torch.zeros_like), "feat_8.first.conv.weight is not finite"),
        (changed("synthesis.feat_8.3.running_var", torch.neg), "feat_8.first.conv.weight is not finite"),
        (changed("synthesis.init.init.0.weight_orig", lambda w: w[:, :5].clone()), r"not \[z_dim, 32 ngf, 4, 4\]"),
        (changed(f"{CONV}_orig", lambda w: w.tolist()), rf"{CONV}_orig is a list, not a tensor"),
    ],
)
def test_a_damaged_snapshot_is_refused(change, says, state, tmp_path):
    path = write_snapshot(tmp_path / "snapshot.pkl", CONFIG, change(state))
    with pytest.raises(InputError, match=says) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_what_no_image_depends_on_may_be_there_or_not(state, tmp_path):
    """Stale weights, blocks above the image's size, and counters."""
    bare = {
        name: value
        for name, value in state.items()
        if "tracked" not in name and not name.startswith(("synthesis.feat_64", "synthesis.se_", "synthesis.feat_128"))
    }
    bare[CONV] = bare[f"{CONV}_orig"] * torch.nan
    read = load_checkpoint(write_snapshot(tmp_path / "snapshot.pkl", CONFIG, bare)).weights
    full = load_checkpoint(write_snapshot(tmp_path / "full.pkl", CONFIG, state)).weights
    assert all(torch.equal(read[name], weight) for name, weight in full.items()) and len(read) == len(full)


@pytest.mark.parametrize("noise", ["const", "none"])
def test_noise_is_random_and_nothing_else(noise, state, tmp_path):
    path = write_snapshot(tmp_path / "snapshot.pkl", CONFIG, state)
    with pytest.raises(InputError, match=f"--noise {noise} does not go with .*noise is random: leave it out"):
        load_checkpoint(path, asked={"noise": noise})
    load_checkpoint(path, asked={"noise": "random"})


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({"noise_mode": "const"}, 'noise_mode "const" is not what a FastGAN generator does'),
        ({"truncation_psi": 0.7}, "truncation_psi 0.7 is not what"),
        ({"truncation_psi": True}, "truncation_psi true is not what"),
        ({"truncation_cutoff": "8"}, 'truncation_cutoff "8" is no number of layers'),
        ({"num_timesteps": 4}, "'num_timesteps' is no argument of a FastGAN generator, it has noise_mode, trunc"),
        ([1], "holds a list"),
    ],
)
def test_a_config_that_contradicts_is_refused(stated, says, state, tmp_path):
    path, config = write_snapshot(tmp_path / "snapshot.pkl", CONFIG, state), tmp_path / "config.json"
    config.write_text(json.dumps(stated))
    with pytest.raises(InputError, match=says) as error:
        load_checkpoint(path, config)
    assert "\n" not in str(error.value)


def test_a_config_may_say_what_is_done_anyway(state, tmp_path):
    path, config = write_snapshot(tmp_path / "snapshot.pkl", CONFIG, state), tmp_path / "config.json"
    for stated in ({}, {"noise_mode": "random", "truncation_psi": 1, "truncation_cutoff": None}):
        config.write_text(json.dumps(stated))
        load_checkpoint(path, config)
    for text, says in (("{", "is not JSON"), (None, "does not exist")):
        config.unlink() if text is None else config.write_text(text)
        with pytest.raises(InputError, match=says):
            load_checkpoint(path, config)


def test_raw_weights_are_not_for_sampling(state, tmp_path):
    with pytest.raises(InputError, match="leave out --weights raw"):
        load_checkpoint(write_snapshot(tmp_path / "snapshot.pkl", CONFIG, state), weights="raw")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"img_resolution": 16}, "img_resolution 16 is not supported"),
        ({"img_channels": 5}, "img_channels 5 is not supported"),
        ({"z_dim": 0}, "z_dim 0"),
        ({"img_resolution": 1024, "ngf": 4}, "leave a layer without channels"),
        ({"cond": True}, "c_dim 0 is not supported for a conditional network"),
        ({"cond": True, "c_dim": 1001}, "c_dim 1001 is not supported"),
    ],
)
def test_a_network_that_cannot_be_is_refused(change, says):
    good = {"img_resolution": 32, "img_channels": 3, "z_dim": 8, "c_dim": 0, "ngf": 4}
    FastganConfig(**good)
    with pytest.raises(InputError, match=says):
        FastganConfig(**{**good, **change})


def test_there_is_one_step():
    assert FastganSampling(1) == FastganSampling()
    with pytest.raises(InputError, match="--steps 4 is not for a FastGAN generator"):
        FastganSampling(4)


def test_a_snapshot_of_nobody_is_refused_by_all_titles(state, tmp_path):
    part = {name: value for name, value in state.items() if not name.startswith("synthesis.to_big")}
    with pytest.raises(InputError, match="its G_ema is a .*, and neither .* nor a FastGAN generator"):
        load_checkpoint(write_snapshot(tmp_path / "snapshot.pkl", CONFIG, part))
