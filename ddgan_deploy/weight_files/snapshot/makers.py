"""What a snapshot's names stand for, where they have a meaning here; all else is held as what was saved of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import printable
from ddgan_deploy.weight_files.objects import Named, Saved
from ddgan_deploy.weight_files.snapshot.allowance import Allowance
from ddgan_deploy.weight_files.snapshot.keys import as_key
from ddgan_deploy.weight_files.snapshot.names import LISTS, is_dict, is_persistent, spelled, type_name
from ddgan_deploy.weight_files.snapshot.tensors import Storage, storage, tensor
from ddgan_deploy.weight_files.stand_ins import NumpyArray, NumpyDtype, UnreadError, is_small

_MAX_NAME = 200
_LIST_ITEM, _DICT_ITEM = 8, 32
"""Bytes that each takes, about."""
_OLD_STATE = "__setstate__"
"""The key for what an object was saved by, where that is no dict of attributes."""


class Objects:
    """See `machine.Makers`."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._named: dict[str, Named] = {}

    def named(self, module: str, name: str, offset: int) -> Named:
        return self.held(f"{module}.{name}", offset)

    def held(self, name: str, offset: int) -> Named:
        """A class, a function or a module."""
        # Held once each, for a name may be long and be there often.
        known = spelled(name, offset)
        return self._named.setdefault(known, Named(known, offset))

    def persistent(self, identity: object, offset: int) -> Any:
        raise InputError(f"refers at byte {offset} to what lies outside it: give a snapshot in one file")

    def called(self, what: object, arguments: tuple[Any, ...], offset: int) -> Any:
        kind = what.kind if isinstance(what, Named) else ""
        make = _MEANINGS.get(kind) or (_persistent_object if is_persistent(kind) else None)
        try:
            return make(self, arguments, offset) if make else self.created(what, arguments, offset)
        except InputError:
            raise
        except Exception:  # arguments that make no sense end in an error of almost any type
            raise InputError(
                f"is damaged, what calls {printable(kind)} at byte {offset} gives it other things: copy it again"
            ) from None

    def created(self, what: object, arguments: tuple[Any, ...], offset: int) -> Any:
        kind = _kind(what)
        if is_dict(kind):
            return self._dict(arguments, offset)
        if kind in LISTS:
            return self._list(arguments)
        return Saved(kind, offset, arguments=arguments)

    def _dict(self, arguments: tuple[Any, ...], offset: int) -> dict[Any, Any]:
        # Python 2 gives an OrderedDict its items in pairs; a defaultdict is given what makes its values.
        items = next((each for each in arguments if isinstance(each, list | dict)), {})
        self._allowance.copy(_DICT_ITEM * len(items))
        pairs = items.items() if isinstance(items, dict) else items
        return {as_key(key, offset): value for key, value in pairs}

    def _list(self, arguments: tuple[Any, ...]) -> list[Any]:
        items = arguments[0] if arguments and isinstance(arguments[0], list | tuple) else ()
        self._allowance.copy(_LIST_ITEM * len(items))
        return list(items)

    def encoded(self, text: str) -> bytes:
        """The bytes that a text of protocol 2 stands for."""
        self._allowance.copy(len(text))
        return text.encode("latin1")

    def storage(self, content: object, offset: int) -> Storage | Saved:
        """See `tensors.storage`."""
        return storage(content, offset, self._allowance)

    def items(self, dtype: NumpyDtype, content: object, shape: tuple[int, ...], order: Literal["C", "F"] = "C") -> Any:
        """NumPy's numbers or texts as Python's.

        Raises:
            Exception: of almost any type, where there are fewer.
        """
        size = math.prod(shape)
        self._allowance.copy(_LIST_ITEM * size)
        return dtype.read(content, shape, order)

    def state_set(self, target: object, state: object, offset: int) -> Any:
        if isinstance(target, NumpyArray):
            return _filled(self, target, state, offset)
        if isinstance(target, NumpyDtype):
            order = state[1] if type(state) is tuple and len(state) > 1 else "="
            target.order = order if isinstance(order, str) and order in ("<", ">", "|") else "="
        elif isinstance(target, Saved):
            self._attributes(target, state, offset)
        # Of others, such as OrderedDict, no attributes of their own are told.
        return target

    def _attributes(self, target: Saved, state: object, offset: int) -> None:
        # Never copied: thousands of objects may be given the same state.
        if target.state:
            raise InputError(
                f"is damaged, the {target.class_name} at byte {target.offset} is filled twice: copy it again"
            )
        in_slots: object = None
        if (
            type(state) is tuple
            and len(state) == 2
            and isinstance(state[0], dict | None)
            and isinstance(state[1], dict)
        ):
            state, in_slots = state
        match state, in_slots:
            case dict(), None:
                target.state = state
            case None, dict():
                target.state = in_slots
            case dict(), dict():
                self._allowance.copy(_DICT_ITEM * (len(in_slots) + len(state)))
                target.state = {**in_slots, **state}
            case _:
                target.state = {_OLD_STATE: state}


def _kind(what: object) -> str:
    """The name of a class, also of one that dill has written out whole."""
    if isinstance(what, Named):
        return what.kind
    if not isinstance(what, Saved):
        return "object"
    match what.class_name, what.arguments:
        case "_create_type", (_, str(name), _, dict(members), *_):
            module = members.get("__module__")
            full = f"{module[:_MAX_NAME]}.{name[:_MAX_NAME]}" if isinstance(module, str) else name[:_MAX_NAME]
            return full if full.replace(".", "_").isidentifier() else what.kind
    return what.kind


def _filled(objects: Objects, target: NumpyArray, state: object, offset: int) -> Any:
    """An array with its items; one of no axes is its one item."""
    match state:
        case (_, tuple(shape), dtype, bool() | int() as is_fortran, content, *_) if all(
            type(size) is int and size >= 0 for size in shape
        ):
            try:
                if isinstance(dtype, NumpyDtype) and is_small(shape):
                    target[:] = objects.items(dtype, content, shape or (1,), "F" if is_fortran else "C")
                    return target if shape else target[0]
                return target
            except InputError:
                raise
            except Exception:
                pass
    raise InputError(f"is damaged, the array at byte {offset} has not the items that it claims: copy it again")


def _persistent_object(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Saved:
    match arguments:
        case ({"type": "class", "class_name": str(name), "module_src": str(source), "state": state},) if (
            name.isidentifier() and len(name) <= _MAX_NAME
        ):
            found = Saved(name, offset, source=source)
            return found if state is None else objects.state_set(found, state, offset)
    raise ValueError


def _reconstructed(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Any:
    return objects.created(arguments[0], (), offset)


def _encoded(objects: Objects, arguments: tuple[Any, ...], offset: int) -> bytes:
    text, encoding = arguments
    if encoding not in ("latin1", "latin-1"):
        raise ValueError
    return objects.encoded(text)


def _bytes(objects: Objects, arguments: tuple[Any, ...], offset: int) -> bytes:
    match arguments:
        case ():
            return b""
        case (bytes(content),):
            return content
        case (str(), str()):
            return _encoded(objects, arguments, offset)
    raise ValueError


def _module(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Named:
    return objects.held(arguments[0], offset)


def _attribute(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Any:
    match arguments:
        case (Named(kind=kind), str(name)):
            return objects.held(f"{kind}.{name[:_MAX_NAME]}", offset)
    return Saved("dill._dill._get_attr", offset, arguments=arguments)


def _type(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Named:
    return objects.held(type_name(arguments[0]), offset)


def _array_of_dill(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Any:
    what, inner, state, *_ = arguments
    return objects.state_set(objects.called(what, inner, offset), state, offset)


def _tensor(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Any:
    return tensor(arguments, offset)


def _typed_tensor(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Any:
    return tensor(arguments, offset, dtype=arguments[6])


def _first(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Any:
    return arguments[0]


def _of_a_subclass(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Any:
    match arguments:
        case (Named(kind=kind) as what, _, tuple(inner), *_) if kind in _TENSORS:
            return objects.called(what, inner, offset)
    return Saved("torch.Tensor", offset, arguments=arguments)


def _storage(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Any:
    return objects.storage(arguments[0], offset)


def _numpy_dtype(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Any:
    try:
        return NumpyDtype(*arguments)
    except UnreadError:
        return Saved("numpy.dtype", offset, arguments=arguments)


def _numpy_scalar(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Any:
    match arguments:
        case (NumpyDtype() as dtype, bytes(content)):
            return objects.items(dtype, content, ())
    return Saved("numpy.core.multiarray.scalar", offset, arguments=arguments)


def _numpy_array(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Any:
    return NumpyArray()


def _numpy_array_at_once(objects: Objects, arguments: tuple[Any, ...], offset: int) -> Any:
    content, dtype, shape, order = arguments
    return _filled(objects, NumpyArray(), (1, shape, dtype, order == "F", content), offset)


_Make = Callable[[Objects, tuple[Any, ...], int], Any]
_TENSORS: dict[str, _Make] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
}
_MEANINGS: dict[str, _Make] = {
    **_TENSORS,
    "torch._tensor._rebuild_from_type": _of_a_subclass,
    "torch._tensor._rebuild_from_type_v2": _of_a_subclass,
    "torch.storage._load_from_bytes": _storage,
    "torch.Size": _first,
    "copyreg._reconstructor": _reconstructed,
    "_codecs.encode": _encoded,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "numpy.dtype": _numpy_dtype,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy.core.multiarray._reconstruct": _numpy_array,
    "numpy.core.numeric._frombuffer": _numpy_array_at_once,
    "dill._dill._import_module": _module,
    "dill._dill._get_attr": _attribute,
    "dill._dill._load_type": _type,
    "dill._dill._create_array": _array_of_dill,
}
