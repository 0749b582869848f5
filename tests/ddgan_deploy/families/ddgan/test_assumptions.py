"""What no file tells is listed, with its value and how to state it, and what is stated is not."""

from __future__ import annotations

import json

import pytest

from ddgan_deploy.artifact.assumptions import Assumed
from ddgan_deploy.checkpoint import Checkpoint, load_checkpoint
from ddgan_deploy.errors import InputError
from tests.conftest import DATA, golden_case

STORED = {
    "image_size": "32",
    "num_timesteps": "4",
    "beta_min": "0.1",
    "beta_max": "20.0",
    "use_geometric": "false",
    "not_use_tanh": "false",
    "centered": "true",
    "skip_rescale": "true",
    "fir_kernel": "[1.0, 3.0, 3.0, 1.0]",
}
"""Of the golden case biggan without its arguments; that it has an FIR, its input pyramid tells."""


def with_config(tmp_path, **arguments) -> Checkpoint:
    path = tmp_path / "args.json"
    path.write_text(json.dumps(arguments))
    return load_checkpoint(DATA / "biggan" / "netG.pth", path)


def assumed_of(checkpoint, steps: int = 4) -> tuple[Assumed, ...]:
    return checkpoint.assumed(checkpoint.choose(steps))


def values(assumed: tuple[Assumed, ...]) -> dict[str, str]:
    return {each.name: each.value for each in assumed}


def test_of_weights_alone():
    checkpoint = load_checkpoint(DATA / "biggan" / "netG.pth")
    assert values(assumed_of(checkpoint)) == STORED
    assert checkpoint.kind == "as stored" and checkpoint.trained_steps is None


@pytest.mark.parametrize("name", ["beta_max", "not_use_tanh", "fir_kernel", "use_geometric", "num_timesteps"])
def test_what_is_stated_is_not_assumed_even_as_the_default(tmp_path, name):
    checkpoint = with_config(tmp_path, **{name: json.loads(STORED[name])})
    assert values(assumed_of(checkpoint)) == {k: v for k, v in STORED.items() if k != name}


@pytest.mark.parametrize("stated", [{"image_size": 32}, {"attn_resolutions": [16]}])
def test_the_image_size_follows_from_where_attention_sits(tmp_path, stated):
    assert "image_size" not in values(assumed_of(with_config(tmp_path, **stated)))


def test_a_single_step_has_no_schedule():
    names = values(assumed_of(load_checkpoint(DATA / "biggan" / "netG.pth"), 1))
    assert "num_timesteps" in names and not {"beta_min", "beta_max", "use_geometric"} & names.keys()


def test_all_arguments_leave_nothing_to_assume():
    golden = golden_case("biggan")
    assert assumed_of(golden.load()) == ()
    state = golden_case("training_state").load()
    assert assumed_of(state) == () and state.kind == "ema"
    assert load_checkpoint(golden_case("training_state").path, weights="raw").kind == "raw"


def test_each_says_how_to_state_it():
    for assumed in assumed_of(load_checkpoint(DATA / "biggan" / "netG.pth")):
        assert json.loads(assumed.fix.partition("FILE.json with ")[2]) == {assumed.name: json.loads(assumed.value)}
        assert "--config content.pth" in assumed.fix and assumed.source


def test_steps_that_the_file_knows():
    state = golden_case("training_state").load()
    assert state.choose().steps == 4
    with pytest.raises(InputError, match="--steps 2 contradicts .* num_timesteps 4: give --steps 4"):
        state.choose(2)
    with pytest.raises(InputError, match=r"does not tell how many steps it was trained for: give --steps T"):
        load_checkpoint(DATA / "biggan" / "netG.pth").choose()
