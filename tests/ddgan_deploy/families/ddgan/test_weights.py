"""A generator is found by what is inside, wherever it is in a file; EMA and raw weights are never mistaken."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.families.ddgan.weights import Found, generator
from ddgan_deploy.weight_files.reading import read
from tests.ddgan_deploy.families.ddgan.tiny import EMA, RAW, Content, holds, prefixed, refusal, training_state
from tests.ddgan_deploy.weight_files.golden_files import saved

OTHER = {"conv.weight": torch.zeros(4, 3, 3, 3), "conv.bias": torch.zeros(4)}
PREFIXES = [
    "",
    "module.",
    "_orig_mod.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "module.module.",
    "netG.",
    "module.netG._orig_mod.",
    "generator.",
    "model.generator.",
    "G.",
    "ema.",
    "ema.module.",
    "_forward_module.netG.",
    "some.name.of.a.fork.",
]


def found(folder: Any, content: object, weights: Any = "ema") -> Found:
    path = saved(folder, content)
    return generator(read(path), weights, path)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("form", ["pickle", "safetensors"])
def test_any_prefix(tmp_path, prefix, form):
    path = tmp_path / f"netG.{form}"
    weights = prefixed(RAW, prefix)
    if form == "pickle":
        saved(tmp_path, weights, path.name)
    else:
        save_file(weights, path)
    assert holds(load_checkpoint(path), RAW)


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module.", "module."])
def test_wrappers_around_parts_of_the_network(tmp_path, wrapper):
    weights = {
        name.replace("all_modules.4.", f"all_modules.4.{wrapper}").replace(
            "z_transform.", f"{wrapper}z_transform."
        ): weight
        for name, weight in RAW.items()
    }
    assert holds(load_checkpoint(saved(tmp_path, weights)), RAW)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"state_dict": RAW, "epoch": 3}, "state_dict"),
        ({"model": prefixed(RAW, "module.")}, "model"),
        ({"netG": RAW, "netD": OTHER, "optimizerG": {"state": {}}}, "netG"),
        ({"a": {"b": {"c": RAW}}}, "a.b.c"),
        ({"models": [OTHER, RAW]}, "models[1]"),
        ({"state_dict": prefixed(RAW, "netG.") | prefixed(OTHER, "netD."), "global_step": 7}, "state_dict.netG"),
        ({"state_dict": prefixed(RAW, "generator.") | prefixed(OTHER, "discriminator.")}, "state_dict.generator"),
        (prefixed(RAW, "netG.") | prefixed(OTHER, "netD."), "netG"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_dicts_around_it_and_other_networks_beside_it(tmp_path, content, place):
    ours = found(tmp_path, content)
    assert (ours.place, ours.kind) == (place, "as stored")
    assert holds(load_checkpoint(tmp_path / "netG.pth"), RAW)
    assert "--weights raw needs a training state" in refusal(tmp_path / "netG.pth", weights="raw")


BOTH: dict[str, Content] = {
    "two prefixes": prefixed(RAW, "netG.") | prefixed(EMA, "netG_ema."),
    "ema before": prefixed(EMA, "ema.") | prefixed(RAW, "model."),
    "one without": RAW | prefixed(EMA, "ema."),
    "two dicts": {"netG": RAW, "netG_ema": EMA},
    "a dict beside a training state": {"netG_dict": RAW, "ema": {"module": EMA}, "optimizerG": {"state": {}}},
    "Lightning": {"state_dict": prefixed(RAW, "generator.") | prefixed(EMA, "ema_generator.")},
    "camel case": {"netG": RAW, "netEMA": EMA},
    "AveragedModel": {"G": RAW, "other": {"n_averaged": torch.tensor(5), **prefixed(EMA, "module.")}},
    "a list of averages": {"model": RAW, "ema": {"decay": 0.999, "shadow_params": list(EMA.values())}},
    "ema-pytorch": prefixed(RAW, "online_model.") | prefixed(EMA, "ema_model.") | {"step": torch.tensor(3)},
    "published": training_state(),
}


@pytest.mark.parametrize("content", BOTH.values(), ids=BOTH.keys())
def test_averages_and_raw_weights_are_told_apart_by_their_names(tmp_path, content):
    for weights, tensors in (("ema", EMA), ("raw", RAW)):
        assert found(tmp_path, content, weights).kind == weights
        assert holds(load_checkpoint(tmp_path / "netG.pth", weights=weights), tensors)


@pytest.mark.parametrize("place", ["ema", "netG_ema", "EMA", "averaged_model", "g.shadow"])
def test_averages_alone_are_known_by_their_name(tmp_path, place):
    assert found(tmp_path, {place: EMA}).kind == "ema"
    assert f"EMA weights alone, at '{place}'" in refusal(tmp_path / "netG.pth", weights="raw")


SAY_RAW = [
    *("netG_no_ema", "netG_pre_ema", "generator_before_ema", "non_averaged", "ema_off", "without_ema", "use_ema=False"),
    *(
        "noEMA",
        "netGNoEma",
        "no-ema",
        "no ema",
        "noema",
        "nonEma",
        "not_an_ema",
        "unaveraged",
        "un-averaged",
        "netG_wo_ema",
    ),
    *(
        "non_moving_average",
        "G_not_avg",
        "ema_disabled",
        "ema:none",
        "before_the_ema",
        "ema=0",
        "NON_EMA",
        "unshadowed",
    ),
    *(
        "raw",
        "netG_raw",
        "online_model",
        "ema.raw",
        "ema.off",
        "pre.ema",
        "ema.no_ema",
        "no_ema.netG",
        "G.not.averaged",
    ),
]


@pytest.mark.parametrize("place", SAY_RAW)
def test_names_that_deny_averages_say_raw(tmp_path, place):
    name, _, inner = place.partition(".")
    inside = {inner: RAW} if inner else RAW
    path = saved(tmp_path, {name: inside})
    assert f"holds raw weights alone, at '{place}': give --weights raw" in refusal(path)
    assert found(tmp_path, {name: inside}, "raw").kind == "raw"
    # Without a word of its own, what is beside it may be anything.
    path = saved(tmp_path, {name: inside, "netG": EMA})
    message = refusal(path)
    assert "more than one generator, at " in message and f"'{place}'" in message and "'netG'" in message
    assert holds(load_checkpoint(path, weights="raw"), RAW)
    path = saved(tmp_path, {name: inside, "netG_ema": EMA})
    assert holds(load_checkpoint(path), EMA)
    assert holds(load_checkpoint(path, weights="raw"), RAW)


@pytest.mark.parametrize("place", ["ema_no_decay", "no_1_ema", "ema_raw", "current_ema", "ema_before_step_3"])
def test_names_that_say_both_are_not_guessed_at(tmp_path, place):
    path = saved(tmp_path, {"netG": RAW, place: EMA})
    for weights in ("ema", "raw"):
        assert "more than one generator, at 'netG', " in refusal(path, weights=weights)
    assert found(tmp_path, {place: EMA}).kind == "as stored"


@pytest.mark.parametrize(
    "place", ["with_ema", "ema_2", "netG.ema.0.9999", "emaModel", "moving_average", "pretrained_ema"]
)
def test_names_that_say_averages(tmp_path, place):
    assert found(tmp_path, prefixed(EMA, f"{place}.")).kind == "ema"


def test_keys_that_are_truth_values_say_it_too(tmp_path):
    path = saved(tmp_path, {"use_ema": {False: RAW, True: EMA}})
    assert holds(load_checkpoint(path), EMA)
    assert holds(load_checkpoint(path, weights="raw"), RAW)


EMA_PYTORCH = prefixed(RAW, "online_model.") | prefixed(EMA, "ema_model.") | {"step": torch.tensor(3)}


@pytest.mark.parametrize(
    "content",
    [
        {"ema": EMA_PYTORCH},
        {"ema": {"online_model": RAW, "ema_model": EMA}},
        {"netG": RAW, "netG_ema": EMA_PYTORCH},
        {"state_dict": prefixed(RAW, "netG.") | prefixed(EMA_PYTORCH, "netG_ema.")},
        {"with_ema": {"raw": RAW, "averaged": EMA}},
        {"ema": {"current": RAW, "averaged": EMA}},
        {"mean_ema": {"student": RAW, "teacher": EMA}},
        {"ema": {"online": RAW, "shadow": EMA}},
    ],
    ids=["ema-pytorch", "in dicts", "beside raw", "Lightning", "raw", "current", "student", "online"],
)
def test_the_innermost_name_decides(tmp_path, content):
    path = saved(tmp_path, content)
    assert holds(load_checkpoint(path), EMA)
    assert holds(load_checkpoint(path, weights="raw"), RAW)


@pytest.mark.parametrize(
    "content",
    [
        {"ema": EMA, "best_ema": RAW},
        {"teacher": RAW, "student": EMA},
        {"raw": RAW, "no_ema": EMA},
        {"runs": {"current": RAW, "best": EMA}},
    ],
    ids=["averages", "plain", "raw", "current"],
)
def test_no_advice_leads_to_advice_of_the_opposite(tmp_path, content):
    path = saved(tmp_path, content)
    for weights in ("ema", "raw"):
        message = refusal(path, weights=weights)
        assert "holds more than one generator, at '" in message and message.endswith("save alone the one that is meant")


def test_an_average_that_may_be_raw_is_not_taken_as_such(tmp_path):
    path = saved(tmp_path, {"ema": {"best": EMA, "current": dict(EMA)}, "netG": RAW})
    assert holds(load_checkpoint(path), EMA)
    assert "more than one generator, at " in refusal(path, weights="raw")


@pytest.mark.parametrize("place", ["schema", "cinema", "model", "remap"])
def test_other_names_say_nothing_of_averages(tmp_path, place):
    assert found(tmp_path, {place: RAW}).kind == "as stored"


def test_two_candidates_are_named(tmp_path):
    message = refusal(saved(tmp_path, {"teacher": RAW, "student": EMA}))
    assert "more than one generator, at 'teacher', 'student'" in message


def test_two_averages_are_named(tmp_path):
    message = refusal(saved(tmp_path, {**training_state(), "ema": EMA}))
    assert "more than one generator, at 'ema', 'optimizerG'" in message


def test_one_dict_at_two_places_is_one_generator(tmp_path):
    assert found(tmp_path, {"model": RAW, "state_dict": RAW}).place == "model"


@pytest.mark.parametrize(
    "content",
    [
        # Buffers whose names have lost their dots.
        prefixed(RAW, "model.") | {f"model_ema.{name.replace('.', '')}": weight for name, weight in EMA.items()},
        {"model": RAW, "ema": {name: weight for name, weight in EMA.items() if "z_transform" not in name}},
    ],
    ids=["without dots", "only a part"],
)
def test_averages_in_an_unknown_form_do_not_give_way_to_raw_weights(tmp_path, content):
    path = saved(tmp_path, content)
    message = refusal(path)
    assert "no EMA weights that can be read" in message and "ema." in message and "--weights raw" in message
    assert holds(load_checkpoint(path, weights="raw"), RAW)


def test_a_generator_that_cannot_be_taken_is_pointed_at(tmp_path):
    part = {name: weight for name, weight in RAW.items() if name.startswith("all_modules.")}
    assert "seems to be at 'nets.G.all_modules.0.weight'" in refusal(saved(tmp_path, {"nets": {"G": part}}))


def test_another_network_under_a_prefix_is_left_out_but_none_without(tmp_path):
    assert "1 keys are left over, the first is 'conv.bias'" in refusal(
        saved(tmp_path, {**RAW, "conv.bias": torch.zeros(4)})
    )


@pytest.mark.parametrize("name", ["args", "hyper_parameters"])
@pytest.mark.parametrize("form", [dict, lambda args: argparse.Namespace(**args)], ids=["dict", "namespace"])
def test_arguments_beside_the_weights(tmp_path, name, form):
    path = saved(tmp_path, {"state_dict": prefixed(RAW, "netG."), name: form({"num_timesteps": 3})})
    assert load_checkpoint(path).training_args["num_timesteps"] == 3


def test_a_dict_within_itself(tmp_path):
    content: Content = {"model": RAW}
    content["again"] = content
    assert found(tmp_path, content).place == "model"


@pytest.mark.parametrize("deep", [dict, list], ids=["dicts", "lists"])
def test_deep_nesting_ends_in_a_line(tmp_path, deep):
    content: Any = 1
    for _ in range(400):
        content = {"x": content} if deep is dict else [content]
    path = saved(tmp_path, {"a": content})
    assert "holds no generator ('a' is a" in refusal(path)
    assert "a is a" in refusal(saved(tmp_path, {**RAW, "a": content}))


@pytest.mark.parametrize("key", ["x" * 5000, "module." + "y" * 5000, "line\nend", "\udcff", "\x1b[31m"])
def test_keys_that_are_no_names(tmp_path, key):
    assert "is no parameter of such a generator" in refusal(saved(tmp_path, {**RAW, key: torch.zeros(3)}))
    assert "holds no generator" in refusal(saved(tmp_path, {key: 1}))
    refusal(saved(tmp_path, {key: RAW, "other": EMA}))
    refusal(saved(tmp_path, {"netG_dict": {**RAW, key: torch.zeros(3)}, "optimizerG": {"state": {}}}))


@pytest.mark.parametrize("prefix", ["", "netG."])
def test_one_parameter_twice_is_refused(tmp_path, prefix):
    twice = prefixed(RAW, prefix) | {f"module.{prefix}z_transform.1.bias": torch.zeros(8)}
    message = refusal(saved(tmp_path, twice))
    assert "holds 'z_transform.1.bias' with and without a wrapper's prefix" in message
