"""What a pickle may name. No name is ever looked up: one is told apart by its text, or held as it is."""

from __future__ import annotations

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import short

_MAX_LENGTH = 500
_SPELLINGS = (
    # Python 2, whose names protocol 2 keeps.
    ("__builtin__", "builtins"),
    ("copy_reg", "copyreg"),
    # NumPy 2, and where a function lies that dill 0.3.4 asks for its module.
    ("numpy._core", "numpy.core"),
    ("numpy.core._multiarray_umath", "numpy.core.multiarray"),
    ("dill.dill", "dill._dill"),
)
"""Of one module: another, and ours. Each is looked for after those before it."""
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
    "_functools",
    "typing",
    "types",
    "enum",
    "pathlib",
    "argparse",
)
"""Packages of published training codes and what these write: whatever they name is data here."""
_BUILTINS = """
    object type bool int float complex str bytes bytearray list tuple dict set frozenset range slice property
    staticmethod classmethod super Ellipsis NotImplemented NoneType
    abs all any enumerate filter isinstance issubclass len map max min print reduce reversed round sorted sum zip
    Exception AssertionError AttributeError IndexError KeyError NotImplementedError RuntimeError StopIteration
    TypeError ValueError
"""
_HARMLESS = frozenset(
    {"copyreg", "copyreg._reconstructor", "_codecs", "_codecs.encode", "builtins", "builtins.__dict__"}
    # A function that dill 0.3.6 writes out whole, with the names around it, has these.
    | {"_operator.or_", "_frozen_importlib.ModuleSpec", "_frozen_importlib_external.SourceFileLoader"}
    | {f"dill._dill.{name}" for name in ("_get_attr", "_import_module", "_load_type", "_setitems")}
    | {f"builtins.{name}" for name in _BUILTINS.split()}
)
_DICTS = frozenset({"builtins.dict", "collections.OrderedDict", "collections.defaultdict", "collections.Counter"})
LISTS = frozenset({"builtins.list", "builtins.set", "builtins.frozenset", "collections.deque"})
"""What becomes a list, for a set is filled only after others refer to it."""
_PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"


def spelled(name: str, offset: int) -> str:
    """The name as this reader knows it, whichever version of Python or NumPy has written it.

    Args:
        name: of a class or a function with its module's, or of a module.
        offset: of it in the file, in bytes, for the error.

    Raises:
        InputError: it is of none of the packages whose objects a snapshot holds.
    """
    known = name
    for other, ours in _SPELLINGS:
        if known == other or known.startswith(f"{other}."):
            known = ours + known[len(other) :]
    if len(known) > _MAX_LENGTH or not (known in _HARMLESS or is_persistent(known) or _is_held(known)):
        raise InputError(
            f"names {short(name)[1:-1]} at byte {offset}, which is never run: give a snapshot as the published "
            "training code writes it"
        )
    return known


def type_name(name: str) -> str:
    """Of a type that dill names by its own table, such as ``set`` and ``CodeType``."""
    known = f"builtins.{name}"
    return known if known in _HARMLESS else f"types.{name}"


def is_persistent(name: str) -> bool:
    """Whether it rebuilds an object that carries its source text, in whichever package ``torch_utils`` lies."""
    return f".{name}".endswith(f".{_PERSISTENT}") and name.replace(".", "").isidentifier()


def is_dict(name: str) -> bool:
    """Whether a class is a dict, of whatever name its keys are reached by."""
    return name in _DICTS or f".{name}".endswith((".dnnlib.util.EasyDict", ".dnnlib.EasyDict", ".easydict.EasyDict"))


def _is_held(name: str) -> bool:
    return name.partition(".")[0] in _HELD or name.startswith("dill._dill._create_")
