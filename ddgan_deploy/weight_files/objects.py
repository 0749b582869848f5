"""Objects of classes as a pickle has them: what was saved of each. No class is looked up, and nothing is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import printable, short

AVERAGED = "G_ema"
"""Under which a snapshot has the moving average of a generator: what its authors sample from."""
_WHOLE = "give a whole snapshot"
MAX_DEPTH = 100
"""Of modules within modules."""
MAX_MODULES, MAX_TENSORS = 10_000, 100_000
"""In one network; far more than the largest published ones have. A few modules that hold each other give any number."""
MAX_PATH = 500
"""Characters of the path of a module."""


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

    @property
    def told(self) -> str:
        """It in a line for people."""
        return f"the {printable(self.kind)} at byte {self.offset}"

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
            raise InputError(f"{self.told} is no PyTorch module: {_WHOLE}")
        return {name: member for name, member in found.items() if member is not None}


def parts(module: object) -> Mapping[str, Any]:
    """What a PyTorch module is made of, by name; nothing where it is no module."""
    found = module.state.get("_modules") if isinstance(module, Saved) else None
    return found if isinstance(found, dict) else {}


def modules(root: Saved) -> Iterator[tuple[str, Saved]]:
    """A PyTorch module and all modules in it, by their paths; the root's is "".

    Raises:
        InputError: one is no module, or lies too deep, such as in itself.
    """
    waiting = [("", 0, root)]
    count = 1
    while waiting:
        path, depth, module = waiting.pop()
        yield path, module
        inside = module.members("_modules")
        count += len(inside)
        if depth >= MAX_DEPTH and inside:
            raise InputError(f"modules lie more than {MAX_DEPTH} deep in each other at {short(path)}: {_WHOLE}")
        if count > MAX_MODULES:
            raise InputError(f"{root.told} has more than {MAX_MODULES} modules: {_WHOLE}")
        for name, member in reversed(inside.items()):
            where = f"{path}.{name}" if path else name
            if len(where) > MAX_PATH or not isinstance(member, Saved):
                kind = f"has {len(where)} characters" if len(where) > MAX_PATH else f"is a {type(member).__name__}"
                raise InputError(f"{short(where)} {kind}, not a module: {_WHOLE}")
            waiting.append((where, depth + 1, member))


def state_dict(root: Saved) -> dict[str, Any]:
    """Parameters and buffers of a PyTorch module by their paths, in the order of its own ``state_dict``, unchecked.

    Buffers that are not persistent are left out, as there. A tensor that two modules share is there twice.

    Raises:
        InputError: see `modules`.
    """
    found = {}
    count = 0
    for path, module in modules(root):
        left_out = module.state.get("_non_persistent_buffers_set")
        for group in ("_parameters", "_buffers"):
            members = module.members(group)
            count += len(members)
            if count > MAX_TENSORS:
                raise InputError(f"{root.told} has more than {MAX_TENSORS} tensors: {_WHOLE}")
            for name, value in members.items():
                if group == "_parameters" or not isinstance(left_out, list) or name not in left_out:
                    found[f"{path}.{name}" if path else name] = value
    return found
