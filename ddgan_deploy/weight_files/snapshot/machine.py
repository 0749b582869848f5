"""A pickle's opcodes -> values, by a loop of our own. What they would call is left to `Makers`, which call nothing."""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO, NoReturn, Protocol, cast

from ddgan_deploy.errors import InputError
from ddgan_deploy.weight_files.objects import Named, Saved
from ddgan_deploy.weight_files.snapshot.allowance import Allowance
from ddgan_deploy.weight_files.snapshot.keys import as_key

PROTOCOLS = range(2, 6)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MAX_LONG_BITS = 2048


class Makers(Protocol):
    """What stands behind the opcodes that name and call."""

    def named(self, module: str, name: str, offset: int) -> Named:
        """A class or a function."""
        ...

    def called(self, what: object, arguments: tuple[Any, ...], offset: int) -> Any:
        """What a call of it gives, in place of which nothing is called."""
        ...

    def created(self, what: object, arguments: tuple[Any, ...], offset: int) -> Any:
        """A new object of a class."""
        ...

    def state_set(self, target: object, state: object, offset: int) -> Any:
        """An object with its attributes."""
        ...

    def persistent(self, identity: object, offset: int) -> Any:
        """What lies outside the pickle."""
        ...


class _Bounded:
    """A file that never makes room for more bytes than it has."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file, self._end = file, end
        self.tell, self.readline = file.tell, file.readline

    def read(self, count: int) -> bytes:
        return self._file.read(min(count, max(0, self._end - self._file.tell())))


class Machine:
    """Reads one pickle; it leaves the file after the pickle's end.

    Args:
        file: at the pickle's start.
        end: of the file, in bytes.
        makers: see there.
        allowance: shared by all that is read of one file.
    """

    def __init__(self, file: BinaryIO, end: int, makers: Makers, allowance: Allowance) -> None:
        self._file = _Bounded(file, end)
        self._makers, self._allowance = makers, allowance
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._replaced: dict[int, tuple[object, Any]] = {}
        self._at = 0

    def run(self) -> Any:
        """What the pickle holds.

        Raises:
            InputError: it is cut short, or has opcodes that make no sense or that no snapshot has.
        """
        for opcode, argument, offset in self._opcodes():
            self._at = offset or 0
            name = opcode.name
            if name == "STOP":
                return self._pop()
            handler = _HANDLERS.get(name)
            if handler:
                handler(self, argument)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in _ATOMS:
                self._push_atom(argument)
            else:
                raise InputError(
                    f"has the opcode {name} at byte {self._at}, which no snapshot has: give a snapshot as the "
                    "published training code writes it"
                )
        return self._damaged()

    def _opcodes(self) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
        found = pickletools.genops(cast(IO[bytes], self._file))
        while True:
            self._allowance.read_opcode()
            try:
                each = next(found)
            except StopIteration:
                return
            except Exception:  # of almost any type
                self._damaged()
            yield each

    def _damaged(self) -> NoReturn:
        raise InputError(f"is damaged at byte {self._at}: copy it again")

    def _pop(self) -> Any:
        if not self._stack:
            self._damaged()
        return self._stack.pop()

    def _last(self) -> Any:
        if not self._stack:
            self._damaged()
        return self._stack[-1]

    def _to_mark(self) -> list[Any]:
        if not self._marked:
            self._damaged()
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _push_atom(self, value: Any) -> None:
        if isinstance(value, int) and value.bit_length() > _MAX_LONG_BITS:
            raise InputError(f"has a number of {value.bit_length()} bits at byte {self._at}: copy it again")
        self._stack.append(bytes(value) if isinstance(value, bytearray) else value)

    def _protocol(self, protocol: int) -> None:
        if protocol not in PROTOCOLS:
            raise InputError(
                f"has pickle protocol {protocol}: save it anew by protocol {PROTOCOLS[0]} to {PROTOCOLS[-1]}"
            )

    def _mark(self, _: object) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _pop_one(self, _: object) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._to_mark()

    def _pop_mark(self, _: object) -> None:
        self._to_mark()

    def _dup(self, _: object) -> None:
        self._stack.append(self._last())

    def _memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._last()

    def _put(self, index: int) -> None:
        self._memo[index] = self._last()

    def _get(self, index: int) -> None:
        if index not in self._memo:
            self._damaged()
        value = self._memo[index]
        self._stack.append(self._replaced.get(id(value), (value, value))[1])

    def _tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            self._damaged()
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._stack.append(items)

    def _tuple(self, _: object) -> None:
        items = tuple(self._to_mark())
        self._stack.append(items)

    def _list(self, _: object) -> None:
        items = self._to_mark()
        self._stack.append(items)

    def _dict(self, _: object) -> None:
        items = self._to_mark()
        self._stack.append({})
        self._set(items)

    def _append(self, _: object) -> None:
        self._add([self._pop()])

    def _extend(self, _: object) -> None:
        self._add(self._to_mark())

    def _add(self, items: list[Any]) -> None:
        match self._last():
            case list() as target:
                target.extend(items)
            case Saved() as target:
                target.items.extend(items)
            case _:
                self._damaged()

    def _set_one(self, _: object) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _set_all(self, _: object) -> None:
        self._set(self._to_mark())

    def _set(self, items: list[Any]) -> None:
        if len(items) % 2:
            self._damaged()
        pairs = zip(items[::2], items[1::2], strict=True)
        match self._last():
            case dict() as target:
                target.update((as_key(key, self._at), value) for key, value in pairs)
            case Saved() as target:
                target.items.extend(pairs)
            case _:
                self._damaged()

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(self._makers.named(module, name, self._at))

    def _stack_global(self, _: object) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            self._damaged()
        self._stack.append(self._makers.named(module, name, self._at))

    def _reduce(self, _: object) -> None:
        arguments, what = self._pop(), self._pop()
        if type(arguments) is not tuple:
            self._damaged()
        self._stack.append(self._makers.called(what, arguments, self._at))

    def _new(self, _: object) -> None:
        arguments, what = self._pop(), self._pop()
        if type(arguments) is not tuple:
            self._damaged()
        self._stack.append(self._makers.created(what, arguments, self._at))

    def _new_ex(self, _: object) -> None:
        by_name = self._pop()
        arguments = self._pop()
        what = self._pop()
        if type(arguments) is not tuple or not isinstance(by_name, dict):
            self._damaged()
        self._stack.append(self._makers.created(what, (arguments, by_name) if by_name else arguments, self._at))

    def _build(self, _: object) -> None:
        state, target = self._pop(), self._pop()
        made = self._makers.state_set(target, state, self._at)
        if made is not target:
            # The target is kept, so that no other gets its id.
            self._replaced[id(target)] = (target, made)
        self._stack.append(made)

    def _persistent(self, _: object) -> None:
        self._stack.append(self._makers.persistent(self._pop(), self._at))

    def _nothing(self, _: object) -> None:
        pass


_ATOMS = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING"}
    | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
)
_HANDLERS: dict[str, Callable[[Machine, Any], None]] = {
    "PROTO": Machine._protocol,
    "FRAME": Machine._nothing,
    "MARK": Machine._mark,
    "POP": Machine._pop_one,
    "POP_MARK": Machine._pop_mark,
    "DUP": Machine._dup,
    "MEMOIZE": Machine._memoize,
    "BINPUT": Machine._put,
    "LONG_BINPUT": Machine._put,
    "BINGET": Machine._get,
    "LONG_BINGET": Machine._get,
    "EMPTY_TUPLE": lambda machine, _: machine._stack.append(()),
    "EMPTY_LIST": lambda machine, _: machine._stack.append([]),
    "EMPTY_DICT": lambda machine, _: machine._stack.append({}),
    # A set becomes a list: it is filled only after others refer to it, by what may take long to hash.
    "EMPTY_SET": lambda machine, _: machine._stack.append([]),
    "TUPLE1": lambda machine, _: machine._tuple_of(1),
    "TUPLE2": lambda machine, _: machine._tuple_of(2),
    "TUPLE3": lambda machine, _: machine._tuple_of(3),
    "TUPLE": Machine._tuple,
    "LIST": Machine._list,
    "FROZENSET": Machine._list,
    "DICT": Machine._dict,
    "APPEND": Machine._append,
    "APPENDS": Machine._extend,
    "ADDITEMS": Machine._extend,
    "SETITEM": Machine._set_one,
    "SETITEMS": Machine._set_all,
    "GLOBAL": Machine._global,
    "STACK_GLOBAL": Machine._stack_global,
    "REDUCE": Machine._reduce,
    "NEWOBJ": Machine._new,
    "NEWOBJ_EX": Machine._new_ex,
    "BUILD": Machine._build,
    "BINPERSID": Machine._persistent,
}
