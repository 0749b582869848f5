"""Objects of classes as a pickle has them: what was saved of each. No class is looked up, and nothing is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ddgan_deploy.errors import InputError

MAX_DEPTH = 100
"""Of modules within modules."""


@dataclass(frozen=True, eq=False, slots=True)
class Named:
    """A class, a function or a module that is named, and no more.

    Attributes:
        kind: its name with its module's, such as "torch.float32".
        offset: in the file, in bytes, where it is first named.
    """

    kind: str
    offset: int


@dataclass(eq=False, slots=True, repr=False)
class Saved:
    """An object that was saved. It may lie in itself, and so may what it holds.

    Attributes:
        kind: its class, such as "pg_modules.blocks.InitLayer"; the last part alone, such as "Generator", where that is
            all that is told; of what a function would have made, the function.
        offset: in the file, in bytes, where it begins.
        state: its attributes by name, as they were saved: numbers, texts, dicts, lists, tuples, tensors, objects. Of
            an object that was saved by something else than a dict, that, under "__setstate__". Several objects may
            share one.
        source: the text of the Python module that it carries; None where it carries none.
        arguments: what its class or function would have been given.
        items: of an object that is a list, what it holds; of one that is a dict, its keys and values in pairs.
    """

    kind: str
    offset: int
    state: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    arguments: tuple[Any, ...] = ()
    items: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        """Of one line, whatever it holds."""
        return f"Saved({self.kind!r}, {self.offset})"

    @property
    def class_name(self) -> str:
        """The last part of the kind."""
        return self.kind.rpartition(".")[2]

    def members(self, group: str) -> dict[str, Any]:
        """Of ``_modules``, ``_parameters`` or ``_buffers``, those that are there.

        Raises:
            InputError: it is no PyTorch module.
        """
        found = self.state.get(group)
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
            raise InputError(f"the {self.kind} at byte {self.offset} is no PyTorch module: give a whole snapshot")
        return {name: member for name, member in found.items() if member is not None}


def modules(root: Saved) -> Iterator[tuple[str, Saved]]:
    """A PyTorch module and all modules in it, by their paths; the root's is "".

    Raises:
        InputError: one is no module, or lies too deep, such as in itself.
    """
    waiting = [("", root)]
    while waiting:
        path, module = waiting.pop(0)
        if path.count(".") > MAX_DEPTH:
            raise InputError(
                f"modules lie more than {MAX_DEPTH} deep in each other at {path[:40]}...: give a whole snapshot"
            )
        yield path, module
        inside = []
        for name, member in module.members("_modules").items():
            where = f"{path}.{name}".lstrip(".")
            if not isinstance(member, Saved):
                raise InputError(f"{where} is a {type(member).__name__}, not a module: give a whole snapshot")
            inside.append((where, member))
        waiting[:0] = inside


def state_dict(root: Saved) -> dict[str, Any]:
    """Parameters and buffers of a PyTorch module by their paths, in the order of its own ``state_dict``, unchecked."""
    return {
        f"{path}.{name}".lstrip("."): value
        for path, module in modules(root)
        for group in ("_parameters", "_buffers")
        for name, value in module.members(group).items()
    }
