"""What a pickle may name. No name is ever looked up: one is told apart by its text, or held as it is."""

from __future__ import annotations

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import short

_MAX_LENGTH = 500
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Names of Python 2, which protocol 2 keeps."""
_NUMPY_1, _NUMPY_2 = "numpy.core", "numpy._core"
_HELD = (
    "torch",
    "torchvision",
    "torch_utils",
    "dnnlib",
    "training",
    "pg_modules",
    "feature_networks",
    "metrics",
    "timm",
    "numpy",
    "collections",
    "functools",
    "dill",
    "types",
    "enum",
    "pathlib",
    "argparse",
)
"""Packages of published training codes and what these write: whatever they name is data here."""
_HARMLESS = frozenset(
    {"copyreg", "copyreg._reconstructor", "_codecs.encode", "builtins"}
    | {
        f"builtins.{name}"
        for name in (
            *("object", "type", "bool", "int", "float", "complex", "str", "bytes", "bytearray", "list", "tuple"),
            *("dict", "set", "frozenset", "range", "slice", "property", "staticmethod", "classmethod", "super"),
            *(
                "Ellipsis",
                "NotImplemented",
                "NoneType",
                "len",
                "print",
                "isinstance",
                "issubclass",
                "abs",
                "min",
                "max",
            ),
            *("sum", "round", "sorted", "zip", "map", "filter", "enumerate", "reversed", "any", "all"),
            *("ValueError", "TypeError", "RuntimeError", "KeyError", "IndexError", "AttributeError", "Exception"),
            *("AssertionError", "NotImplementedError", "StopIteration"),
        )
    }
)
_PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"


def spelled(name: str, offset: int) -> str:
    """The name as this reader knows it, whichever version of Python or NumPy has written it.

    Args:
        name: of a class or a function with its module's, or of a module.
        offset: of it in the file, in bytes, for the error.

    Raises:
        InputError: it is of none of the packages whose objects a snapshot holds.
    """
    module, dot, rest = name.partition(".")
    known = _OLD_MODULES.get(module, module) + dot + rest
    if known == _NUMPY_2 or known.startswith(f"{_NUMPY_2}."):
        known = _NUMPY_1 + known[len(_NUMPY_2) :]
    if len(known) > _MAX_LENGTH or not (known in _HARMLESS or is_persistent(known) or _is_held(known)):
        raise InputError(
            f"names {short(name)[1:-1]} at byte {offset}, which is never run: give a snapshot as the published "
            "training code writes it"
        )
    return known


def is_persistent(name: str) -> bool:
    """Whether it rebuilds an object that carries its source text, in whichever package ``torch_utils`` lies."""
    return f".{name}".endswith(f".{_PERSISTENT}") and name.replace(".", "").isidentifier()


def is_dict(name: str) -> bool:
    """Whether a class is a dict, of whatever name its keys are reached by."""
    return name in _DICTS or f".{name}".endswith((".dnnlib.util.EasyDict", ".dnnlib.EasyDict", ".easydict.EasyDict"))


_DICTS = frozenset({"builtins.dict", "collections.OrderedDict", "collections.defaultdict", "collections.Counter"})
LISTS = frozenset({"builtins.list", "builtins.set", "builtins.frozenset", "collections.deque"})
"""What becomes a list, for a set is filled only after others refer to it."""


def _is_held(name: str) -> bool:
    return name.partition(".")[0] in _HELD
