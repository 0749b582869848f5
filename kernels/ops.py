"""The fused ops: name -> room, a folder of this package. Every other list of ops follows from this one.

A room has a module a form, and not every room every form:

    spec.py        SPECS, the op's statements
    launches.py    ALL, how its Triton-language kernels are launched
    tl_kernel.py   these kernels
    torch_op.py    the op on PyTorch tensors
    ov_op.py       CONVERTERS, op -> what makes OpenVINO's operations of a node
    trt_plugin.py  registers its TensorRT plugins when it is imported

They are imported when they are asked for: some stand on PyTorch, OpenVINO or TensorRT.

PosteriorSample is an op of older files: the C++ kernel for CPUs and OpenVINO's converter read it, everything else
reads a graph as `older.modernize` rewrites it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .launch import OpLaunches
    from .op import OpSpec

ROOMS: Mapping[str, str] = {
    "AdaGN": "adagn",
    "AdaGNGrad": "adagn_grad",
    "AdaGNSilu": "adagn",
    "AdaGNSiluGrad": "adagn_grad",
    "PhiloxInteger": "philox_normal",
    "PhiloxNormal": "philox_normal",
    "PhiloxNormalAt": "philox_normal",
    "PosteriorSample": "posterior_sample",
    "ReverseMean": "reverse_step",
    "ReverseStep": "reverse_step",
    "StyleLrelu": "style_lrelu",
}


def load(form: str) -> list[ModuleType]:
    """Imports the modules of that name, of the rooms that have one."""
    names = (f"{__package__}.{room}.{form}" for room in dict.fromkeys(ROOMS.values()))
    return [importlib.import_module(name) for name in names if importlib.util.find_spec(name)]


@functools.cache
def specs() -> Mapping[str, OpSpec]:
    """Every op's statement, by its name; not of an op of older files."""
    return {spec.name: spec for room in load("spec") for spec in room.SPECS}


def all_launches() -> tuple[OpLaunches, ...]:
    """The Triton-language launches of every op; ops may share some."""
    return tuple(launches for room in load("launches") for launches in room.ALL)


def openvino_converters() -> Mapping[str, Callable[[Any], list[Any]]]:
    """Op -> what makes OpenVINO's operations of a node, an ``openvino.frontend.NodeContext``."""
    return {name: convert for room in load("ov_op") for name, convert in room.CONVERTERS.items()}
