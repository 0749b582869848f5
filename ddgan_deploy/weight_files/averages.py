"""The moving averages of weights that a training state keeps by number: in an optimizer, or as a list.

An optimizer numbers its parameters over all its groups. Which parameter has which number is told by the names
that newer optimizers keep, else by the order of the network's parameters where the shapes agree with it, else by
their order within each group (weights in one and biases in the other, say) where shapes tell the groups apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ddgan_deploy.argument_names import short
from ddgan_deploy.errors import InputError
from ddgan_deploy.weight_files.names import plain_name


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
        InputError: a weight has none, or nothing tells which is whose.
    """
    if "shadow_params" in content:
        label, found = "shadow_params[{}]", dict(enumerate(content["shadow_params"]))
    else:
        entries = {number: entry for number, entry in content["state"].items() if isinstance(entry, dict)}
        label, found = "state[{}].ema", {number: entry["ema"] for number, entry in entries.items() if "ema" in entry}
    numbers = _numbers(content.get("param_groups"), found, raw)
    if numbers is None:
        raise InputError(f"{place} has EMA weights, but nothing tells which is whose: give --weights raw")
    missing = [name for name, number in numbers.items() if number not in found]
    if missing:
        first = f"{short(missing[0])} ({place}.{label.format(numbers[missing[0]])})"
        others = f" and {len(missing) - 1} more of {len(raw)} parameters" if len(missing) > 1 else ""
        raise InputError(f"no EMA weights for {first}{others}: give --weights raw, or a file that has them all")
    return {name: found[number] for name, number in numbers.items()}


def _numbers(param_groups: object, found: Mapping[int, Any], raw: Mapping[str, Any]) -> dict[str, int] | None:
    """Of every parameter; None where nothing tells it."""
    groups, names = _groups(param_groups) or ([list(range(len(raw)))], [])
    flat = [number for group in groups for number in group]
    if names:
        named = dict(zip(names, flat, strict=False))
        return {name: named[name] for name in raw} if named.keys() >= raw.keys() else None
    if len(flat) != len(raw):
        return None
    in_order = dict(zip(raw, flat, strict=True))
    if len(groups) == 1:
        return in_order
    return next((numbers for numbers in (in_order, _by_shape(groups, found, raw)) if _fits(numbers, found, raw)), None)


def _groups(param_groups: object) -> tuple[list[list[int]], list[str]] | None:
    """The numbers in each group, and the names of all, where they were kept; None if there are no groups."""
    groups, names = [], []
    for group in param_groups if isinstance(param_groups, list) else []:
        if not isinstance(group, dict) or not isinstance(numbers := group.get("params"), list):
            return None
        if not all(isinstance(number, int) for number in numbers):
            return None
        groups.append(numbers)
        names += [plain_name(name) for name in group.get("param_names", ()) if isinstance(name, str)]
    return (groups, names) if groups else None


def _by_shape(groups: list[list[int]], found: Mapping[int, Any], raw: Mapping[str, Any]) -> dict[str, int]:
    """By the order within each group; what no group has is left out."""
    of_shape: dict[tuple[int, ...] | None, Iterator[int]] = {}
    for group in groups:
        rest = iter(group)
        for number in group:
            if of_shape.setdefault(_shape(found.get(number)), rest) is not rest:
                return {}
    numbers = {name: next(of_shape.get(_shape(weight), iter(())), None) for name, weight in raw.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def _fits(numbers: Mapping[str, int], found: Mapping[int, Any], raw: Mapping[str, Any]) -> bool:
    return numbers.keys() == raw.keys() and all(
        _shape(found.get(number)) in (None, _shape(raw[name])) for name, number in numbers.items()
    )


def _shape(weight: object) -> tuple[int, ...] | None:
    shape = getattr(weight, "shape", None)
    return None if shape is None else tuple(shape)
