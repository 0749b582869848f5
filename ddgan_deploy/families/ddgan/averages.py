"""The moving averages of weights that a training state keeps by number: in an optimizer, or as a list.

An optimizer numbers its parameters over all its groups. Which parameter has which number is told by the names that
newer optimizers keep, else by the order of the network's parameters: of all, or, in two groups, of those that people
set apart (biases, all vectors, the mapping network). The shapes must leave one of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.weight_names import own_name
from ddgan_deploy.names import short


def has_averages(content: object) -> bool:
    """Whether this is an optimizer's state that holds averages, or a list of averages as EMA classes keep it."""
    if not isinstance(content, dict):
        return False
    if isinstance(content.get("shadow_params"), list):
        return True
    state = content.get("state")
    return isinstance(state, dict) and any(isinstance(entry, dict) and "ema" in entry for entry in state.values())


def averages(content: Mapping[str, Any], raw: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The average of every weight.

    Args:
        content: what `has_averages` is true of.
        raw: parameter name -> weight, in the order of the network's parameters.
        place: of the content, for the error.

    Raises:
        InputError: a weight has none, or one of another shape, or nothing tells which is whose.
    """
    found: dict[Any, Any]
    if "shadow_params" in content:
        label, found = "shadow_params[{}]", dict(enumerate(content["shadow_params"]))
    else:
        entries = {number: entry for number, entry in content["state"].items() if isinstance(entry, dict)}
        label, found = "state[{}].ema", {number: entry["ema"] for number, entry in entries.items() if "ema" in entry}
    no_number = next((key for key in found if not isinstance(key, int)), None)
    if no_number is not None:
        under = short(no_number) if isinstance(no_number, str) else f"a {type(no_number).__name__}"
        raise InputError(f"{place} has EMA weights under {under}, which is no parameter's number: give --weights raw")
    groups, names = _groups(content.get("param_groups")) or ([list(range(len(raw)))], [])
    flat = [number for group in groups for number in group]
    if not names and not found.keys() <= set(flat):
        raise InputError(
            f"{place} has EMA weights under numbers of none of its {len(flat)} parameters, and no names tell which is "
            "whose: give --weights raw"
        )
    if len(flat) != len(raw) and not names:
        raise InputError(
            f"{place} has EMA weights for {len(found)} of {len(flat)} parameters, the network has {len(raw)}, and no "
            "names tell which is whose: give --weights raw"
        )
    numbers = dict(zip(names, flat, strict=False)) if names else _numbers(groups, found, raw)
    if numbers is None:
        raise InputError(
            f"{place} has EMA weights in {len(groups)} groups, and nothing tells which is whose: give --weights raw"
        )
    missing = [name for name in raw if numbers.get(name) not in found]
    if missing:
        number = numbers.get(missing[0])
        first = short(missing[0]) + ("" if number is None else f" ({place}.{label.format(number)})")
        others = f" and {len(missing) - 1} more of {len(raw)} parameters" if len(missing) > 1 else ""
        raise InputError(f"no EMA weights for {first}{others}: give --weights raw, or a file that has them all")
    for name, weight in raw.items():
        shape, expected = _shape(found[numbers[name]]), _shape(weight)
        if None not in (shape, expected) and shape != expected:
            why = "" if names else "the EMA weights do not fit the order of the keys, "
            raise InputError(
                f"{why}{place}.{label.format(numbers[name])} has shape {list(shape or ())}, {short(name)} has "
                f"{list(expected or ())}: give --weights raw"
            )
    return {name: found[numbers[name]] for name in raw}


def are_by_order(content: object) -> bool:
    """Whether the order of the network's parameters is all that tells which average is whose."""
    return not (isinstance(content, dict) and (_groups(content.get("param_groups")) or ([], []))[1])


def _groups(param_groups: object) -> tuple[list[list[int]], list[str]] | None:
    """The numbers in each group, and the names of all, where they were kept; None if there are no groups."""
    groups, names = [], []
    for group in param_groups if isinstance(param_groups, list) else []:
        numbers = group.get("params") if isinstance(group, dict) else None
        if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
            return None
        groups.append(numbers)
        kept = group.get("param_names")
        names += [own_name(name) for name in kept if isinstance(name, str)] if isinstance(kept, list) else []
    return (groups, names) if groups else None


def _numbers(groups: list[list[int]], found: Mapping[int, Any], raw: Mapping[str, Any]) -> dict[str, int] | None:
    """Of every parameter, where the shapes of the averages leave one way to number them."""
    orders = [list(raw)]
    if len(groups) == 1:
        return dict(zip(raw, groups[0], strict=True))
    if len(groups) == 2:
        for is_apart in (_is_vector, _is_bias, _is_of_mapping):
            parts = [[name for name in raw if is_apart(name, raw[name]) is wanted] for wanted in (False, True)]
            orders += [[*one, *other] for one, other in (parts, parts[::-1]) if len(one) == len(groups[0])]
    flat = [number for group in groups for number in group]
    fitting = {
        tuple(order)
        for order in orders
        if all(_shape(found.get(n)) in (None, _shape(raw[name])) for name, n in zip(order, flat, strict=True))
    }
    return dict(zip(fitting.pop(), flat, strict=True)) if len(fitting) == 1 else None


def _is_vector(_: str, weight: object) -> bool:
    return len(_shape(weight) or ()) < 2


def _is_bias(name: str, _: object) -> bool:
    return name.endswith((".bias", ".b"))


def _is_of_mapping(name: str, _: object) -> bool:
    return name.startswith("z_transform.")


def _shape(weight: object) -> tuple[int, ...] | None:
    shape = getattr(weight, "shape", None)
    return None if shape is None else tuple(shape)
