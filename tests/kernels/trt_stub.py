"""TensorRT's Python side without its libraries, and what calls a plugin as TensorRT does.

The package of bindings asks its libraries for nine functions; here they are stubs that
return nothing. Where TensorRT itself is installed it is taken instead. The plugin objects
are TensorRT's own either way; only its symbolic extents are made up.

    python -m tests.kernels.trt_stub < ROWS

compiles what each row's plugin launches: a JSON list of `Row` in, one of `Kernel` out.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

_SYMBOLS = {
    "nvinfer": (
        "createInferBuilder_INTERNAL",
        "createInferRefitter_INTERNAL",
        "createInferRuntime_INTERNAL",
        "getBuilderPluginRegistry",
        "getPluginRegistry",
    ),
    "nvinfer_plugin": ("initLibNvInferPlugins",),
    "nvonnxparser": (
        "createNvOnnxParser_INTERNAL",
        "createNvOnnxParserRefitter_INTERNAL",
        "getNvOnnxParserVersion",
    ),
}
_BINDINGS = "tensorrt_cu13_bindings"

_stubbed: dict[str, ModuleType] = {}
"""Modules that stand on the stubs; nothing else in the process finds them."""


@contextmanager
def tensorrt_module(folder: Path) -> Iterator[Any]:
    """The module ``tensorrt``; stubs of its libraries go into the folder.

    Raises:
        ModuleNotFoundError: neither TensorRT nor its bindings are installed.
    """
    if importlib.util.find_spec("tensorrt"):
        yield importlib.import_module("tensorrt")
        return
    sys.modules.update(_stubbed)
    if not _stubbed:
        major = importlib.metadata.version(_BINDINGS).partition(".")[0]
        for library, symbols in _SYMBOLS.items():
            ctypes.CDLL(str(_stub(folder, f"lib{library}.so.{major}", symbols)), ctypes.RTLD_GLOBAL)
        sys.modules["tensorrt"] = importlib.import_module("tensorrt_bindings")
    try:
        yield sys.modules["tensorrt"]
    finally:
        ours = [name for name in sys.modules if name.partition(".")[0] in ("tensorrt", "tensorrt_bindings")]
        _stubbed.update((name, sys.modules.pop(name)) for name in ours)


def _stub(folder: Path, name: str, symbols: Sequence[str]) -> Path:
    source, library = folder / f"{name}.c", folder / name
    source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in symbols))
    command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    return library


@dataclass(frozen=True)
class Extent:
    """TensorRT's ``IDimensionExpr`` with a value behind it, which only a constant one tells."""

    value: int
    constant: bool

    def is_constant(self) -> bool:
        return self.constant

    def get_constant_value(self) -> int:
        assert self.constant, "a symbolic extent has no value when an engine is built"
        return self.value


class Builder:
    """TensorRT's ``IExprBuilder``."""

    def __init__(self, trt: Any) -> None:
        kinds = trt.DimensionOperation
        self._operations = {
            kinds.SUM: lambda a, b: a + b,
            kinds.SUB: lambda a, b: a - b,
            kinds.PROD: lambda a, b: a * b,
            kinds.FLOOR_DIV: lambda a, b: a // b,
            kinds.CEIL_DIV: lambda a, b: -(-a // b),
        }

    def constant(self, value: int) -> Extent:
        return Extent(value, True)

    def operation(self, kind: Any, a: Extent, b: Extent) -> Extent:
        return Extent(self._operations[kind](a.value, b.value), a.constant and b.constant)


class Numbers(dict[int, Extent]):
    """TensorRT's ``ISymExprs``."""

    nbSymExprs = 0


class LaunchParams:
    """TensorRT's ``IKernelLaunchParams``."""

    grid_x: Extent
    grid_y: Extent
    grid_z: Extent
    block_x: Extent
    block_y: Extent
    block_z: Extent
    shared_mem: Extent


def _real_plugin() -> str:
    """The package whose modules do the work: an installed ``tensorrt`` only hands on what is in its bindings."""
    import tensorrt

    return "tensorrt.plugin" if tensorrt.__name__ == "tensorrt_bindings" else "tensorrt_bindings.plugin"


@contextmanager
def registered(folder: Path) -> Iterator[Any]:
    """The ddgan plugins, registered; gives the module ``tensorrt``."""
    with ExitStack() as stack:
        trt = stack.enter_context(tensorrt_module(folder))
        lib, tensor, plugin = (
            importlib.import_module(f"{_real_plugin()}.{name}") for name in ("_lib", "_tensor", "_plugin_class")
        )

        def patch(module: Any, name: str, value: Any) -> None:
            stack.enter_context(mock.patch.object(module, name, value))

        if trt.get_plugin_registry() is None:
            patch(lib, "_register_plugin_creator", lib._TemplatePluginCreator)
        patch(tensor.trt, "IDimensionExpr", Extent)
        patch(plugin.trt, "DimsExprs", lambda rank: [None] * rank)
        patch(tensor, "SymExprImpl", lambda number: number._expr)

        from ddgan_deploy.kernels import trt_launch

        trt_launch.register_plugins()
        yield trt


Combination = tuple[tuple[str, str], ...]
"""(type, format) of each input and of the output."""


@dataclass(frozen=True)
class Kernel:
    """What a plugin gives TensorRT, its formulas evaluated.

    Attributes:
        numbers: the arguments between inputs and outputs.
    """

    symbol: str
    ptx: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    numbers: tuple[int, ...]


class Node:
    """A plugin of one node, called in TensorRT's order.

    Args:
        inputs: (type, shape) of each; a shape's first extent is the batch, which is symbolic.
        fixed: inputs, by position, whose first extent is not.
    """

    def __init__(
        self,
        trt: Any,
        name: str,
        attributes: Mapping[str, Any],
        inputs: Sequence[tuple[str, Sequence[int]]],
        fixed: Sequence[int] = (),
    ) -> None:
        lib = sys.modules[f"{_real_plugin()}._lib"]
        self.trt, self.attributes, self.inputs = trt, attributes, inputs
        self.attribute_names = list(lib.QDP_REGISTRY[f"ddgan::{name}"].input_attrs)
        fields = [_field(trt, key, attributes[key]) for key in self.attribute_names if key in attributes]
        assert len(fields) == len(attributes), "the parser ignores attributes that the plugin does not register"
        self.plugin = lib._TemplatePluginCreator.create_plugin(
            None, name, "ddgan", fields, trt.TensorRTPhase.BUILD, trt.QuickPluginCreationRequest.PREFER_AOT
        )
        self._exprs = [
            [Extent(extent, axis > 0 or place in fixed) for axis, extent in enumerate(shape)]
            for place, (_, shape) in enumerate(inputs)
        ]
        types = [getattr(trt, kind) for kind, _ in inputs]
        (self._out_type,) = self.plugin.get_output_data_types(types, [len(exprs) for exprs in self._exprs])
        (self._out_exprs,) = self.plugin.get_output_shapes(self._exprs, [], Builder(trt))
        self._types = [*types, self._out_type]

    @property
    def output(self) -> tuple[str, tuple[int, ...]]:
        """Type and shape."""
        return self._out_type.name.lower(), tuple(extent.value for extent in self._out_exprs)

    @property
    def symbolic(self) -> list[bool]:
        """Which extents of the output are."""
        return [not extent.constant for extent in self._out_exprs]

    def combinations(self) -> list[Combination]:
        """What the plugin offers."""
        linear = [self.trt.TensorFormat.LINEAR] * len(self._types)
        described = [each.desc for each in self._describe(self._types, linear)]
        offered = self.plugin.get_supported_format_combinations(
            self._describe(self._types, linear), len(self._types) - 1
        )
        assert len(offered) % len(described) == 0
        return [
            tuple((each.type.name, each.format.name) for each in offered[start : start + len(described)])
            for start in range(0, len(offered), len(described))
        ]

    def kernel(self, combination: Combination) -> Kernel:
        """What the plugin launches for one of them."""
        types = [getattr(self.trt.DataType, kind) for kind, _ in combination]
        formats = [getattr(self.trt.TensorFormat, form) for _, form in combination]
        described = self._describe(types, formats)
        self.plugin.configure_plugin(described[:-1], described[-1:])
        (tactic,) = self.plugin.get_valid_tactics()
        self.plugin.set_tactic(tactic)
        params, numbers = LaunchParams(), Numbers()
        self.plugin.get_launch_params(self._exprs, described, len(described) - 1, params, numbers, Builder(self.trt))
        plain = [each.desc for each in described]
        symbol, ptx = self.plugin.get_kernel(plain[:-1], plain[-1:])
        assert numbers.nbSymExprs == len(numbers)
        assert params.block_x.constant and params.shared_mem.constant
        return Kernel(
            symbol,
            ptx.decode(),
            (params.grid_x.value, params.grid_y.value, params.grid_z.value),
            (params.block_x.value, params.block_y.value, params.block_z.value),
            params.shared_mem.value,
            tuple(numbers[place].value for place in range(len(numbers))),
        )

    def _describe(self, types: Sequence[Any], formats: Sequence[Any]) -> list[Any]:
        described = []
        for exprs, kind, form in zip([*self._exprs, self._out_exprs], types, formats, strict=True):
            each = self.trt.DynamicPluginTensorDesc()
            each.desc.dims = tuple(extent.value if extent.constant else -1 for extent in exprs)
            each.desc.type, each.desc.format = kind, form
            described.append(each)
        return described


def _field(trt: Any, name: str, value: Any) -> Any:
    """An attribute as the ONNX parser hands it on; strings with the end mark that it may leave."""
    kinds = trt.PluginFieldType
    if isinstance(value, str):
        return trt.PluginField(name, value.encode() + b"\0", kinds.CHAR)
    if isinstance(value, float):
        return trt.PluginField(name, np.array([value], np.float32), kinds.FLOAT32)
    return trt.PluginField(name, np.atleast_1d(np.array(value, np.int64)), kinds.INT64)


@dataclass(frozen=True)
class Row:
    """A node, the place of one of its combinations among those it offers, and a GPU."""

    plugin: str
    attributes: dict[str, Any]
    inputs: list[tuple[str, list[int]]]
    combination: int
    arch: int


def main() -> None:
    """Compiles."""
    rows = [Row(**row) for row in json.load(sys.stdin)]
    with tempfile.TemporaryDirectory() as folder, registered(Path(folder)) as trt:
        from ddgan_deploy.kernels import trt_launch

        kernels = []
        for row in rows:
            node = Node(trt, row.plugin, row.attributes, row.inputs)
            with trt_launch.target(row.arch):
                kernels.append(asdict(node.kernel(node.combinations()[row.combination])))
        print(json.dumps(kernels))


if __name__ == "__main__":
    main()
