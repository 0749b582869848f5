"""Averages that an optimizer keeps by number go to the parameters that they are of, or are refused."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import pytest
import torch

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.averages import averages
from tests.ddgan_deploy.families.ddgan.tiny import EMA, RAW, Content, holds, refusal, training_state
from tests.ddgan_deploy.weight_files.golden_files import saved


def grouped(*groups: list[str], names: bool = False) -> Content:
    """A training state whose optimizer has its parameters in groups, numbered as PyTorch does: over all of them."""
    content = training_state()
    order = [name for group in groups for name in group]
    number = {name: index for index, name in enumerate(order)}
    content["optimizerG"] = {
        "state": {index: {"step": 1, "ema": EMA[name]} for name, index in number.items()},
        "param_groups": [
            {"params": [number[name] for name in group]}
            | ({"param_names": [f"module.{n}" for n in group]} if names else {})
            for group in groups
        ],
    }
    return content


def split(is_first: Callable[[str], bool]) -> list[list[str]]:
    return [[name for name in RAW if is_first(name) is wanted] for wanted in (True, False)]


NAMES = list(RAW)
SPLITS = {
    "all": [NAMES],
    "halves": [NAMES[:40], NAMES[40:]],
    "three": [NAMES[:10], NAMES[10:30], NAMES[30:]],
    "one empty": [NAMES, []],
    "weights and biases": split(lambda name: not name.endswith((".bias", ".b"))),
    "biases first": split(lambda name: name.endswith((".bias", ".b"))),
    "matrices and vectors": split(lambda name: RAW[name].dim() > 1),
    "the mapping network first": split(lambda name: name.startswith("z_transform")),
    "the mapping network last": split(lambda name: not name.startswith("z_transform")),
}


@pytest.mark.parametrize("names", [True, False], ids=["with names", "without"])
@pytest.mark.parametrize("groups", SPLITS.values(), ids=SPLITS.keys())
def test_several_groups(tmp_path, groups, names):
    path = saved(tmp_path, grouped(*groups, names=names))
    assert holds(load_checkpoint(path), EMA)
    assert holds(load_checkpoint(path, weights="raw"), RAW)


def test_real_optimizers_number_their_parameters_so(tmp_path):
    groups = SPLITS["matrices and vectors"]
    parameters = {name: torch.nn.Parameter(weight.clone()) for name, weight in RAW.items()}
    optimizer = torch.optim.Adam([{"params": [parameters[name] for name in group]} for group in groups])
    for name, parameter in parameters.items():
        optimizer.state[parameter]["ema"] = EMA[name]
    content = {**training_state(), "optimizerG": optimizer.state_dict()}
    assert holds(load_checkpoint(saved(tmp_path, content)), EMA)


def test_groups_that_nothing_tells_apart_are_refused(tmp_path):
    apart = set(NAMES[1::4])
    message = refusal(saved(tmp_path, grouped(*split(lambda name: name in apart))))
    assert "optimizerG has EMA weights in 2 groups, and nothing tells which is whose: give --weights raw" in message


def test_groups_that_shapes_leave_two_ways_for_are_refused():
    raw = {"norm.weight": torch.zeros(2), "norm.bias": torch.zeros(2)}
    content = {"state": {0: {"ema": torch.zeros(2)}, 1: {"ema": torch.ones(2)}}, "param_groups": []}
    groups = [{"params": [0]}, {"params": [1]}]
    assert averages(content, raw, "optimizerG")["norm.bias"].sum() == 2
    with pytest.raises(InputError, match="nothing tells which is whose"):
        averages({**content, "param_groups": groups}, raw, "optimizerG")


def test_no_groups_give_a_parameter_the_average_of_another(tmp_path):
    taken = 0
    for seed in range(30):
        rng = random.Random(seed)
        apart = set(rng.sample(NAMES, rng.choice([1, 2, 5, 20])))
        path = saved(tmp_path, grouped(*split(apart.__contains__)))
        with contextlib.suppress(InputError):
            assert holds(load_checkpoint(path), EMA)
            taken += 1
    assert taken < 30


def test_numbers_in_the_order_that_a_group_gives(tmp_path):
    content = grouped(NAMES)
    state = content["optimizerG"]["state"]
    last = len(NAMES) - 1
    content["optimizerG"] = {
        "state": {last - number: entry for number, entry in state.items()},
        "param_groups": [{"params": [last - number for number in state]}],
    }
    assert holds(load_checkpoint(saved(tmp_path, content)), EMA)


@pytest.mark.parametrize("groups", [None, [], {}, [3], [{}], [{"params": 3}], [{"params": [[1]]}]])
def test_groups_that_are_none(tmp_path, groups):
    content = training_state()
    content["optimizerG"]["param_groups"] = groups
    assert holds(load_checkpoint(saved(tmp_path, content)), EMA)


@pytest.mark.parametrize("names", [True, False], ids=["with names", "without"])
def test_parameters_without_an_average_are_named(tmp_path, names):
    content = grouped(NAMES, names=names)
    for number in (3, 5, 8):
        content["optimizerG"]["state"][number].pop("ema")
    message = refusal(saved(tmp_path, content))
    assert f"no EMA weights for '{NAMES[3]}' (optimizerG.state[3].ema) and 2 more of {len(NAMES)} parameters" in message


def test_parameters_that_the_optimizer_does_not_have(tmp_path):
    content = grouped(NAMES[1:], names=True)
    assert f"no EMA weights for '{NAMES[0]}':" in refusal(saved(tmp_path, content))
    content = grouped(NAMES[1:])
    count = len(NAMES)
    message = refusal(saved(tmp_path, content))
    assert f"for {count - 1} of {count - 1} parameters, the network has {count}" in message


def test_parameters_of_other_networks_in_the_same_optimizer(tmp_path):
    content = training_state()
    content["optimizerG"]["state"][len(NAMES)] = {"ema": torch.zeros(3)}
    content["optimizerG"]["param_groups"] = []
    assert "no names tell which is whose" in refusal(saved(tmp_path, content))


def test_a_list_of_averages_that_is_too_short(tmp_path):
    content = {"model": RAW, "ema": {"shadow_params": list(EMA.values())[:-1]}}
    message = refusal(saved(tmp_path, content))
    assert f"no EMA weights for '{NAMES[-1]}' (ema.shadow_params[{len(NAMES) - 1}])" in message


def test_the_discriminators_averages_are_none_of_the_generators(tmp_path):
    others = {"state": {0: {"ema": torch.zeros(3)}}, "param_groups": [{"params": [0]}]}
    path = saved(tmp_path, {"optimizerD": others, **training_state()})
    assert holds(load_checkpoint(path), EMA)
    content = {**training_state(), "optimizerD": others, "optimizerG": {"state": {}}}
    assert "optimizerD has EMA weights for 1 of 1 parameters" in refusal(saved(tmp_path, content))


def reordered(order: list[str]) -> Content:
    content = training_state()
    content["netG_dict"] = {f"module.{name}": RAW[name] for name in order}
    return content


def without_groups(content: Content) -> Content:
    content["optimizerG"]["param_groups"] = []
    return content


def as_list(content: Content) -> Content:
    return {"model": content["netG_dict"], "ema": {"shadow_params": list(EMA.values())}}


FORMS = pytest.mark.parametrize("form", [lambda content: content, without_groups, as_list], ids=["one", "none", "list"])


@FORMS
def test_keys_in_another_order_than_the_numbers_do_not_fit(tmp_path, form):
    path = saved(tmp_path, form(reordered(sorted(NAMES, reverse=True))))
    message = refusal(path)
    assert "do not fit the order of the keys" in message and message.endswith("give --weights raw")
    assert holds(load_checkpoint(path, weights="raw"), RAW)


@FORMS
def test_keys_of_one_shape_that_changed_places_are_seen(tmp_path, form):
    first, second = "all_modules.3.Conv_0.weight", "all_modules.3.Conv_1.weight"
    order = [{first: second, second: first}.get(name, name) for name in NAMES]
    path = saved(tmp_path, form(reordered(order)))
    message = refusal(path)
    assert f"{second} stands where the network has {first}" in message and message.endswith("give --weights raw")
    assert holds(load_checkpoint(path, weights="raw"), RAW)


def test_keys_in_another_order_do_not_matter_where_names_tell(tmp_path):
    content = {**grouped(NAMES, names=True), "netG_dict": reordered(sorted(NAMES))["netG_dict"]}
    assert holds(load_checkpoint(saved(tmp_path, content)), EMA)


def test_names_whose_averages_have_another_shape(tmp_path):
    content = grouped(NAMES, names=True)
    content["optimizerG"]["state"][0]["ema"] = torch.zeros(3)
    message = refusal(saved(tmp_path, content))
    assert f"optimizerG.state[0].ema has shape [3], '{NAMES[0]}' has " in message
    assert message.endswith("give --weights raw")


@pytest.mark.parametrize("names", [True, False], ids=["with names", "without"])
def test_texts_in_place_of_numbers(tmp_path, names):
    content = grouped(NAMES, names=names)
    content["optimizerG"]["state"] = {str(n): entry for n, entry in content["optimizerG"]["state"].items()}
    message = refusal(saved(tmp_path, content))
    assert "optimizerG has EMA weights under '0', which is no parameter's number: give --weights raw" in message


def test_numbers_that_no_parameter_has(tmp_path):
    content = training_state()
    content["optimizerG"]["state"][500] = {"ema": torch.zeros(3)}
    message = refusal(saved(tmp_path, content))
    assert f"optimizerG has EMA weights under numbers of none of its {len(NAMES)} parameters" in message
