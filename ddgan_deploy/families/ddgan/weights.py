"""The contents of a weight file -> the generator's weights in it, wherever they are.

A generator is known by its names: parameters of ``all_modules`` and of ``z_transform`` side by side. They may be in
dicts within dicts (``state_dict``, ``netG``, ``ema``), and beside other networks under a prefix of their own.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.averages import are_by_order, averages, has_averages
from ddgan_deploy.families.ddgan.weight_names import root_of
from ddgan_deploy.names import short
from ddgan_deploy.weight_files.kinds import Kind, Weights
from ddgan_deploy.weight_files.names import plain_name, said_of
from ddgan_deploy.weight_files.reading import as_state_dict
from ddgan_deploy.weight_files.tensors import checked_tensors

if TYPE_CHECKING:
    import torch

_MAX_DEPTH = 6
_TRAINING_STATE = "netG_dict"
_OPTIMIZER = "optimizerG"
ARGUMENTS = ("args", "hyper_parameters")
"""Names under which training scripts keep their arguments."""
_COUNT = "n_averaged"
"""Of PyTorch's own AveragedModel, beside the averages."""
_SEEMS = re.compile("all_modules|z_transform")
_SHOWN = 4


@dataclass(frozen=True)
class Found:
    """A generator in a file.

    Attributes:
        tensors: parameter name as in `Generator` -> dense tensor in main memory, as it is stored.
        kind: of weights, as far as the file tells.
        place: where in the file, such as ``state_dict.netG``; empty where the file is nothing else.
        args: the training arguments beside it, unchecked; None where there are none.
        by_order: whether the order of the parameters in the file was all that told which weight is whose.
    """

    tensors: Mapping[str, torch.Tensor]
    kind: Kind
    place: str
    args: Mapping[str, Any] | None
    by_order: bool = False


@dataclass(frozen=True)
class _Place:
    """Where something is in a file, and the dicts around it, outermost first."""

    place: str
    around: tuple[dict[Any, Any], ...]


@dataclass(frozen=True)
class _Node(_Place):
    """A dict or a list."""

    content: dict[Any, Any] | list[Any] | tuple[Any, ...]


@dataclass(frozen=True)
class _Candidate(_Place):
    """What seems to be a generator: its weights by their plain names."""

    weights: dict[str, Any]
    said: Weights | None = None


_P = TypeVar("_P", bound=_Place)


def generator(contents: dict[str, Any], weights: Weights, path: Path) -> Found:
    """The generator in a file's contents.

    Args:
        contents: as `read` returns them.
        weights: which to take where the file has both.
        path: of the file, for the error.

    Raises:
        InputError: there is none, or more than one; the file does not have the weights that are asked for, or
            they are no dense tensors.
    """
    nodes = list(_nodes(contents))
    candidates = [candidate for node in nodes for candidate in _candidates(node, path)]
    candidates = candidates or [_only_one(contents, nodes, path)]
    averaged, raw, plain = ([found for found in candidates if found.said == said] for said in ("ema", "raw", None))
    # Names that say nothing are those of raw weights only where there is no better one.
    not_ema = raw or plain
    held = [node for node in nodes if not_ema and has_averages(node.content)]
    held = [node for node in held if node.place.split(".")[-1] == _OPTIMIZER] or held
    unread = "" if averaged or held else _unread_averages(nodes, not_ema)
    by_order = False
    if weights == "raw" and not not_ema:
        only = _single(averaged, path)
        raise InputError(f"{path} holds EMA weights alone, at {_listed([only])}: give --weights ema")
    if weights == "raw" or not (averaged or held or unread or raw):
        chosen = _single(not_ema, path)
    elif averaged:
        chosen = _single(averaged, path, held)
    elif held:
        holder, base = _single(held, path), _single(not_ema, path)
        chosen = replace(base, place=holder.place, weights=_averages(holder, base, path))
        by_order = are_by_order(holder.content)
    else:
        only = _single([*raw, *plain], path)
        has = (
            f"has no EMA weights that can be read, {unread}"
            if unread
            else f"holds raw weights alone, at {_listed([only])}"
        )
        raise InputError(f"{path} {has}: give --weights raw")
    kind: Kind = weights if averaged or held or unread or raw else "as stored"
    if kind != weights and weights == "raw":
        raise InputError(f"{path} holds one set of weights, --weights raw needs a training state: give a content.pth")
    return Found(checked_tensors(chosen.weights, path), kind, chosen.place, _arguments(chosen), by_order)


def seems_a_generator(contents: Mapping[str, Any]) -> bool:
    """Whether any name in it is one of a generator's."""
    names = (name for node in _nodes(dict(contents)) for name in _names(node))
    return any(_SEEMS.search(name) or name == _TRAINING_STATE for name in names)


def _nodes(contents: dict[str, Any]) -> Iterator[_Node]:
    """All dicts and lists, the outer ones first; each once, though a pickle may hold one within itself."""
    queue = deque([_Node("", (), contents)])
    seen = set()
    while queue:
        node = queue.popleft()
        if id(node.content) in seen:
            continue
        seen.add(id(node.content))
        yield node
        if len(node.around) < _MAX_DEPTH:
            queue.extend(_within(node))


def _within(node: _Node) -> Iterator[_Node]:
    around = (*node.around, node.content if isinstance(node.content, dict) else {})
    items = node.content.items() if isinstance(node.content, dict) else enumerate(node.content)
    for key, value in items:
        if isinstance(value, (dict, list, tuple)) and isinstance(key, (str, int)):
            place = f"{node.place}[{key}]" if isinstance(key, int) else f"{node.place}.{key}".lstrip(".")
            yield _Node(place, around, value)


def _candidates(node: _Node, path: Path) -> Iterator[_Candidate]:
    """The generators whose parameters a dict itself holds, each under a prefix of its own."""
    if not isinstance(node.content, dict):
        return
    parts = defaultdict(set)
    for key in node.content:
        if isinstance(key, str) and (found := root_of(plain_name(key))):
            parts[found[0]].add(found[1])
    roots = sorted((root for root, both in parts.items() if len(both) > 1), key=len, reverse=True)
    if not roots:
        return
    content = as_state_dict(node.content, f"{path} ({node.place})" if node.place else str(path))
    for root in roots:
        own = {key: value for key, value in content.items() if plain_name(key).startswith(root)}
        content = {key: value for key, value in content.items() if key not in own}
        weights = _plain(own, path, root)
        place = f"{node.place}.{root}".strip(".")
        is_average = weights.pop(_COUNT, None) is not None
        yield _Candidate(place, node.around, weights, _said_of(place, is_average))


def _said_of(place: str, is_average: bool) -> Weights | None:
    said = said_of(place)
    if is_average:
        return None if said == "raw" else "ema"
    return said


def _plain(content: Mapping[str, Any], path: Path, root: str = "") -> dict[str, Any]:
    """Under the names that the parameters have in the network."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = plain_name(key).removeprefix(root)
        if name in found:
            raise InputError(f"{path} holds {short(name)} with and without a wrapper's prefix: keep one of each")
        found[name] = value
    return found


def _only_one(contents: dict[str, Any], nodes: list[_Node], path: Path) -> _Candidate:
    """Where no generator was seen: what is checked in its place, so that the error says what differs."""
    import torch

    if _TRAINING_STATE in contents:
        inner = as_state_dict(contents[_TRAINING_STATE], f"{path} ({_TRAINING_STATE})")
        return _Candidate(_TRAINING_STATE, (contents,), _plain(inner, path))
    if not contents or any(isinstance(value, torch.Tensor) for value in contents.values()):
        return _Candidate("", (), _plain(contents, path))
    seems = next((f"{node.place}.{key}" for node in nodes for key in _names(node) if _SEEMS.search(key)), None)
    if seems is not None:
        raise InputError(f"{path}: a generator seems to be at {short(seems)}, but not the whole of it: save it alone")
    has = ", ".join(f"{short(key)} is a {type(value).__name__}" for key, value in list(contents.items())[:_SHOWN])
    raise InputError(f"{path} holds no generator ({has}): give a netG_<epoch>.pth or content.pth")


def _unread_averages(nodes: list[_Node], not_ema: list[_Candidate]) -> str:
    """Why there should be averages that were not found; empty where nothing says so."""
    for place in (f"{node.place}.{key}" for node in nodes for key in _names(node) if _SEEMS.search(key)):
        if said_of(place) == "ema":
            return f"those at {short(place)} are in no form that is known"
    if any(_TRAINING_STATE in candidate.place.split(".") for candidate in not_ema):
        return "which a training state has from optimizerG.state[0].ema on"
    return ""


def _names(node: _Node) -> list[str]:
    return [key for key in node.content if isinstance(key, str)] if isinstance(node.content, dict) else []


def _averages(holder: _Node, raw: _Candidate, path: Path) -> dict[str, Any]:
    assert isinstance(holder.content, dict)
    try:
        return averages(holder.content, raw.weights, holder.place)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _single(found: Sequence[_P], path: Path, others: Sequence[_Place] = ()) -> _P:
    if len(found) + len(others) > 1:
        places = _listed([*found, *others])
        raise InputError(f"{path} holds more than one generator, at {places}: save alone the one that is meant")
    return found[0]


def _listed(found: Sequence[_Place]) -> str:
    return ", ".join(short(place.place) if place.place else "the top" for place in found[:_SHOWN])


def _arguments(candidate: _Candidate) -> Mapping[str, Any] | None:
    """The nearest training arguments around it."""
    for content in reversed(candidate.around):
        for name in ARGUMENTS:
            value = content.get(name)
            if isinstance(value, argparse.Namespace):
                return vars(value)
            if isinstance(value, dict):
                return value
    return None
