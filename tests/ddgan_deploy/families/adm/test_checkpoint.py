"""What is known of a checkpoint, and what had to be assumed."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import save_file

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.adm import model, published
from ddgan_deploy.families.adm.published import Published
from ddgan_deploy.families.registry import told_by
from tests.ddgan_deploy.families.adm.small import ARGUMENTS, UNET

DEFAULTS = ["diffusion_steps", "noise_schedule", "predict_xstart", "rescale_timesteps"]


@pytest.fixture
def read(files, tmp_path):
    def run(config=ARGUMENTS, guided=True, **options):
        asked = {"classifier": files / "classifier.safetensors"} if guided else {}
        path = None
        if config is not None:
            path = tmp_path / "config.json"
            path.write_text(json.dumps(config))
        return load_checkpoint(files / "unet.safetensors", path, asked=asked, **options)

    return run


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ({}, 5),
        ({"use_ddim": True}, 25),
        ({"timestep_respacing": "10,10,5"}, 25),
        ({"timestep_respacing": "ddim25", "classifier_scale": 3.5}, 25),
        ({"noise_schedule": "cosine", "diffusion_steps": 40}, 40),
        ({"predict_xstart": True, "clip_denoised": False, "sigma_small": True, "rescale_timesteps": True}, 5),
    ],
)
def test_an_artifact_tells_all_that_its_config_had(read, change, steps):
    first = read({**ARGUMENTS, **change})
    sampling = first.choose(steps)
    again = read(None, known=told_by(first.model, sampling))
    assert again.model == first.model
    assert again.choose(steps) == sampling
    assert again.assumed(sampling) == ()


def test_another_number_of_steps_than_the_artifact_has(read):
    first = read({**ARGUMENTS, "timestep_respacing": "10,10,5"})
    again = read(None, known=told_by(first.model, first.choose()))
    assert again.choose(20).timestep_respacing == "20"


def test_an_artifact_that_is_guided_needs_its_classifier(read):
    first = read()
    with pytest.raises(InputError, match="was exported with a classifier: give it again by --classifier FILE"):
        read(None, guided=False, known=told_by(first.model, first.choose(5)))


def test_what_nothing_states_is_assumed(read):
    bare = {name: value for name, value in ARGUMENTS.items() if name != "classifier_num_head_channels"}
    found = read(bare)
    sampling = found.choose(5)
    names = [each.name for each in found.assumed(sampling)]
    assert names == [*DEFAULTS, "classifier_num_head_channels"]
    assert found.model.classifier.num_head_channels == 64
    # So it is where the artifact is read again: what was assumed there is no statement.
    again = read(None, known=told_by(found.model, sampling), guessed=names)
    assert [each.name for each in again.assumed(sampling)] == names


def test_what_a_config_states_is_not_assumed(read):
    stated = {"diffusion_steps": 500, "noise_schedule": "cosine", "predict_xstart": False, "rescale_timesteps": True}
    found = read({**ARGUMENTS, **stated})
    assert found.assumed(found.choose(5)) == ()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ema_0.9999_540000.safetensors", "ema"),
        ("model540000.safetensors", "raw"),
        ("64x64_diffusion.safetensors", "as stored"),
        ("my_model1.safetensors", "as stored"),
    ],
)
def test_a_name_tells_which_weights_they_are(files, tmp_path, name, kind):
    save_file(UNET.weights, tmp_path / name)
    (tmp_path / "config.json").write_text(json.dumps(ARGUMENTS))
    assert load_checkpoint(tmp_path / name, tmp_path / "config.json").kind == kind
    if kind == "raw":
        load_checkpoint(tmp_path / name, tmp_path / "config.json", "raw")
        return
    with pytest.raises(InputError, match="--weights raw does not go with .*, which holds one set of weights: leave it"):
        load_checkpoint(tmp_path / name, tmp_path / "config.json", "raw")


def test_what_a_published_network_told_stays_assumed(read, monkeypatch):
    """With a small one in the place of those published, whose weights take a gigabyte."""
    known = {name: ARGUMENTS[name] for name in ("num_heads", "use_new_attention_order")}
    like = Published("small", published.PUBLISHED[0].told, (), known)
    monkeypatch.setattr(model, "published", lambda *_: like)
    found = read({name: value for name, value in ARGUMENTS.items() if name not in known})
    sampling = found.choose(5)
    assumed = found.assumed(sampling)
    assert {*known} <= {each.name for each in assumed if "of the published small" in each.source}
    # So it is where the artifact is read again.
    again = read(None, known=told_by(found.model, sampling), guessed=[each.name for each in assumed])
    assert again.assumed(sampling) == assumed
