"""A checkpoint's keys, shapes, numbers and arguments, or one line that names what is wrong."""

from __future__ import annotations

import argparse
import io
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan import checkpoint
from ddgan_deploy.weight_files import reading
from tests.conftest import Golden
from tests.ddgan_deploy.weight_files.golden_files import (
    CONTENT,
    CONV,
    KEYS,
    NET_G,
    NORM,
    STATE,
    refusal,
    saved,
    silent,
    training_state,
    written,
)

_silent = pytest.fixture(autouse=True)(silent)


# Both forms are read.


def test_a_golden_case_is_read(golden: Golden):
    checkpoint = golden.load()
    assert all(weight.dtype == torch.float32 for weight in checkpoint.weights.values())
    assert checkpoint.generator().config == checkpoint.model
    assert len(checkpoint.sha256) == 64


def test_the_prefix_of_distributed_training_may_be_absent(tmp_path):
    plain = saved(tmp_path, {key.removeprefix("module."): value for key, value in STATE.items()})
    ours, theirs = load_checkpoint(plain), load_checkpoint(NET_G)
    assert ours.model == theirs.model
    assert ours.weights.keys() == theirs.weights.keys()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_is_read_as_float32(tmp_path, dtype):
    path = saved(tmp_path, {key: value.to(dtype) for key, value in STATE.items()})
    for key, weight in load_checkpoint(path).weights.items():
        assert torch.equal(weight, STATE[f"module.{key}"].to(dtype).float())


def test_the_older_pickle_format_is_read(tmp_path):
    path = saved(tmp_path, STATE, _use_new_zipfile_serialization=False)
    assert load_checkpoint(path).model == load_checkpoint(NET_G).model


def test_safetensors_hold_the_same(tmp_path):
    path = tmp_path / "netG.safetensors"
    save_file(dict(STATE), path)
    ours, theirs = load_checkpoint(path), load_checkpoint(NET_G)
    assert ours.model == theirs.model
    assert all(torch.equal(ours.weights[key], theirs.weights[key]) for key in theirs.weights)


def test_a_training_state_gives_its_moving_average_or_its_raw_weights():
    state = training_state()
    average, raw = load_checkpoint(CONTENT), load_checkpoint(CONTENT, weights="raw")
    for number, (key, value) in enumerate(state["netG_dict"].items()):
        name = key.removeprefix("module.")
        assert torch.equal(raw.weights[name], value)
        assert torch.equal(average.weights[name], state["optimizerG"]["state"][number]["ema"])
    assert any(not torch.equal(average.weights[key], raw.weights[key]) for key in raw.weights)
    assert average.training_args["num_timesteps"] == 4


# Content that is no state dict of this network.


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1, 2], "a list"),
        (5, "a int"),
        ("text", "a str"),
        (torch.zeros(3), "a Tensor"),
        (argparse.Namespace(x=1), "a Namespace"),
        ({1: torch.zeros(3)}, "keys are no texts"),
        ({}, "no weights"),
        ({"model": {"x": [1]}, "epoch": 3}, "holds no generator ('model' is a dict, 'epoch' is a int)"),
        ({**STATE, "epoch": 3}, "epoch is a int"),
        ({**STATE, "x": None}, "x is a NoneType"),
        ({"netG_dict": [1]}, "netG_dict"),
        ({"netG_dict": {1: torch.zeros(3)}}, "netG_dict"),
        ({"netG_dict": {}, "optimizerG": {"state": {}}}, "no EMA weights"),
    ],
)
def test_other_objects(tmp_path, content, says):
    assert says in refusal(saved(tmp_path, content))


def networks() -> list[torch.nn.Module]:
    nn = torch.nn
    convolutions = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8, 10))
    # One that has our names, but is another.
    look_alike = nn.Module()
    look_alike.all_modules = nn.ModuleList([nn.Linear(16, 64), nn.Linear(64, 64), nn.Conv2d(3, 16, 3)])
    look_alike.z_transform = nn.Sequential(nn.Identity(), nn.Linear(8, 8))
    return [convolutions, nn.Transformer(16, 2, 1, 1, 32, batch_first=True), nn.LSTM(4, 4), look_alike]


@pytest.mark.parametrize("network", networks(), ids=["convolutions", "transformer", "lstm", "look-alike"])
def test_another_network(tmp_path, network):
    assert "not the generator of a Denoising Diffusion GAN" in refusal(saved(tmp_path, network.state_dict()))


# Single keys. The files of these tests hold no numbers, so that writing them costs nothing.


def unwritten(tmp_path: Path) -> Path:
    """A file of nothing, which is large enough for any weights here."""
    path = tmp_path / "netG.pth"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    return path


def refusal_of(tmp_path: Path, tensors: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> str:
    path = unwritten(tmp_path)
    monkeypatch.setattr(reading, "read_torch_file", lambda *_: tensors)
    return refusal(path)


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(tmp_path, monkeypatch, key):
    tensors = {name: value for name, value in STATE.items() if name != f"module.{key}"}
    message = refusal_of(tmp_path, tensors, monkeypatch)
    assert f"the key '{key}' is missing" in message


@pytest.mark.parametrize("change", ["one more", "one axis more", "scalar"])
@pytest.mark.parametrize("key", KEYS)
def test_a_misshapen_key_is_named(tmp_path, monkeypatch, key, change):
    shape = STATE[f"module.{key}"].shape
    other = {
        "one more": (shape[0] + 1, *shape[1:]),
        "one axis more": (*shape, 1),
        "scalar": (),
    }[change]
    message = refusal_of(tmp_path, {**STATE, f"module.{key}": torch.zeros(other)}, monkeypatch)
    last_convolution = key == "all_modules.18.weight" and len(other) != 4
    if last_convolution or (key, other) == ("z_transform.1.weight", ()):
        assert "is missing" in message
    else:
        assert f"{key} has shape {list(other)}, this architecture needs {list(shape)}" in message


@pytest.mark.parametrize("key", ["extra", "", "z_transform.99.bias", "all_modules.4.x"])
def test_a_key_too_many_is_named(tmp_path, monkeypatch, key):
    message = refusal_of(tmp_path, {**STATE, f"module.{key}": torch.zeros(3)}, monkeypatch)
    assert repr(key) in message or ("missing" in message and "z_transform" in message)


@pytest.mark.parametrize("number", ["999999999", "9" * 5000])
@pytest.mark.parametrize("key", ["z_transform.{}.weight", "all_modules.{}.weight"])
def test_absurd_numbers_in_keys_cost_nothing(number, key):
    shapes = {name: tuple(STATE[f"module.{name}"].shape) for name in KEYS} | {key.format(number): (3,)}
    with pytest.raises(InputError):
        checkpoint._check_keys(shapes, checkpoint.infer_config(shapes, {}))


def test_only_some_keys_with_the_prefix(tmp_path):
    first = next(iter(STATE))
    mixed = {first.removeprefix("module."): STATE[first], **{k: v for k, v in STATE.items() if k != first}}
    assert (
        load_checkpoint(saved(tmp_path, mixed)).weights.keys() == load_checkpoint(saved(tmp_path, STATE)).weights.keys()
    )


def test_a_key_with_and_without_the_prefix(tmp_path):
    first = next(iter(STATE))
    assert "with and without a wrapper's prefix" in refusal(
        saved(tmp_path, {first.removeprefix("module."): STATE[first], **STATE})
    )


def test_an_extra_key_is_named(tmp_path):
    assert "'extra'" in refusal(saved(tmp_path, {**STATE, "extra": torch.zeros(3)}))


def test_weights_of_an_unknown_kind(tmp_path):
    with pytest.raises(InputError, match="weights 'mean' is unknown: give ema or raw"):
        load_checkpoint(saved(tmp_path, STATE), weights="mean")


@pytest.mark.parametrize("key", [CONV, NORM])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda weight: weight * float("nan"), "NaN or infinite"),
        (lambda weight: torch.full_like(weight, float("-inf")), "NaN or infinite"),
        (lambda weight: torch.full_like(weight, 1e300, dtype=torch.float64), "NaN or infinite"),
        (lambda weight: weight.int(), "is int32"),
        (lambda weight: weight > 0, "is bool"),
        (lambda weight: weight.to(torch.complex64), "is complex64"),
        (lambda weight: weight.to(torch.float8_e4m3fn), "is float8_e4m3fn"),
        (lambda weight: weight.to_sparse(), "not a dense tensor"),
        (
            lambda weight: weight.flatten(1).to_sparse_csr() if weight.dim() > 1 else weight.to_sparse(),
            "dense",
        ),
        (lambda weight: weight.to("meta"), "meta, not a dense tensor"),
        (lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), "quantized (torch.qint8), not a dense"),
        (lambda weight: torch.zeros(0, *weight.shape[1:]), "holds no numbers"),
        (lambda weight: torch.nested.nested_tensor([weight, weight]), "not a dense tensor"),
        (lambda weight: torch.zeros(1).expand(10**7, 10**7), "has shape"),
        (lambda weight: weight.numpy(), "is a NumpyArray, not a tensor"),
        (lambda weight: weight.tolist(), "is a list"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_weights_that_are_none(tmp_path, key, change, says):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = saved(tmp_path, {**STATE, f"module.{key}": change(STATE[f"module.{key}"])})
    message = refusal(path)
    assert says in message
    assert key in message or "pickled" in message


@pytest.mark.parametrize("place", [0, -1])
def test_one_nan_among_many_weights(tmp_path, place):
    weight = STATE[f"module.{CONV}"].clone()
    weight.view(-1)[place] = float("nan")
    assert CONV in refusal(saved(tmp_path, {**STATE, f"module.{CONV}": weight}))


# Training states.


@pytest.mark.parametrize(
    "optimizer",
    [
        None,
        [],
        {},
        {"state": None},
        {"state": []},
        {"state": {}},
        {"state": {"0": {}}},
        {"state": {0: {"step": 1}}},
    ],
)
def test_a_training_state_without_moving_averages(tmp_path, optimizer):
    path = saved(tmp_path, {**training_state(), "optimizerG": optimizer})
    assert "optimizerG.state[0].ema" in (message := refusal(path))
    assert "--weights raw" in message
    assert load_checkpoint(path, weights="raw").model


def test_a_training_state_without_its_optimizer(tmp_path):
    state = training_state()
    del state["optimizerG"]
    assert "--weights raw" in refusal(saved(tmp_path, state))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (None, "optimizerG.state[3].ema"),
        ({"ema": None}, "is a NoneType"),
        ({"ema": torch.zeros(2)}, "has shape [2]"),
        ({"ema": torch.full((32,), float("nan"))}, "NaN"),
    ],
)
def test_a_moving_average_that_is_none(tmp_path, entry, says):
    state = training_state()
    name = list(state["netG_dict"])[3].removeprefix("module.")
    state["optimizerG"]["state"][3] = entry
    message = refusal(saved(tmp_path, state))
    assert says in message
    assert name in message


def test_raw_weights_of_a_file_that_has_one_set():
    assert "--weights raw needs a training state" in refusal(NET_G, weights="raw")


@pytest.mark.parametrize("form", [lambda args: args, vars], ids=["namespace", "dict"])
def test_the_own_arguments_of_a_training_state_are_heeded(tmp_path, form):
    state = training_state()
    state["args"].num_timesteps = 7
    state["args"] = form(state["args"])
    checkpoint = load_checkpoint(saved(tmp_path, state))
    with pytest.raises(InputError, match=r"--steps 4 contradicts .* num_timesteps 7: give --steps 7"):
        checkpoint.choose(4)
    assert checkpoint.choose(7).steps == 7


@pytest.mark.parametrize("args", [None, 3, [1]])
def test_a_training_state_without_arguments(tmp_path, args):
    assert load_checkpoint(saved(tmp_path, {**training_state(), "args": args})).training_args == {}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("num_timesteps", ["4", None, True, 4.0, [4], torch.tensor([4, 4]), torch.tensor([[4], [4]]), 10**5000]),
        ("beta_min", ["4", None, True, [4], torch.tensor([4, 4]), 10**5000, float("nan"), float("inf")]),
        ("fir", ["4", None, 4, 1.0, [1], torch.tensor([1, 1])]),
        ("ch_mult", ["4", None, 4, [4.0], [None], torch.tensor([4, 4]), [10**5000]]),
        ("fir_kernel", ["4", None, 4, [float("nan"), 1, 1, 1], [[1]]]),
        ("resblock_type", [None, 4, ["biggan"]]),
    ],
    ids=["num_timesteps", "beta_min", "fir", "ch_mult", "fir_kernel", "resblock_type"],
)
def test_own_arguments_of_wrong_types(tmp_path, monkeypatch, name, values):
    path = unwritten(tmp_path)
    for value in values:
        state = {**training_state(), "args": argparse.Namespace(**{name: value})}
        monkeypatch.setattr(reading, "read_torch_file", lambda *_, state=state: state)
        assert f"(args): {name} is " in refusal(path)


def test_steps_that_contradict_and_cannot_be_exported(tmp_path):
    state = training_state()
    state["args"].num_timesteps = 1000
    with pytest.raises(InputError, match=r"num_timesteps 1000: only 1\.\.64 can be exported"):
        load_checkpoint(saved(tmp_path, state)).choose(4)


def test_nothing_is_written_beside_the_file(tmp_path):
    path = saved(tmp_path, [1])
    refusal(path)
    assert list(tmp_path.iterdir()) == [path]


def test_files_without_a_name_of_their_own(tmp_path):
    buffer = io.BytesIO()
    torch.save(dict(STATE), buffer)
    assert load_checkpoint(written(tmp_path, buffer.getvalue(), "no suffix")).model.nz == 16
