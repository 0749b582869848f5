"""What the TensorRT plugins share: one launch of a plan in the form that TensorRT asks for.

A plugin gives TensorRT a kernel's PTX, and its grid and int32 arguments as formulas of the
batch; every other size is known when an engine is built. TensorRT calls the kernel with
(inputs, int32 arguments, outputs), one launch a plugin, so each op's ``trt_plugin.py``
has one plugin a launch. An engine holds the PTX and needs neither Python nor a library.

TensorRT's memory is aligned to more than `ALIGNMENT`, and what it leaves out of
concatenations and slices moves a tensor by whole images, so aligned plans serve wherever
the sizes allow them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorrt as trt
import tensorrt.plugin as trtp

from . import ops
from .launch import NCHW, NHWC, WARP, Launch, OpLaunches, Plan, all_sizes, evaluate
from .op import DOMAIN

Kernel = tuple[str, str, trtp.KernelLaunchParams, trtp.SymIntExprs]
"""What TensorRT asks for: symbol, PTX, launch, and the int32 arguments between inputs and outputs."""

Node = SimpleNamespace
"""A node of the graph: its tensors, as TensorRT describes them, and its attributes, by name."""

TACTIC = 1
"""TensorRT sets none where none is advertised, and the plugin object needs one."""

_TYPES = {"INT": int, "FLOAT": float, "STRING": str, "INTS": npt.NDArray[np.int64]}
_DTYPES = {trt.float32: "float32", trt.float16: "float16"}
_ELEMENTS = {"float32": "FP32", "float16": "FP16", "int64": "INT64"}
_CHANNELS_LAST = {"float32": "HWC", "float16": "HWC8"}
_SHARED_BYTES = 48 * 1024
"""What a kernel has without asking for more, which TensorRT does not."""

_PTX_VERSIONS = {100: 86, 103: 88, 120: 87, 121: 88}
_OLDEST_PTX = 80
"""PTX versions times ten: of the first that know an architecture, and of all before these.

The driver compiles an engine's PTX, and one of TensorRT's own CUDA version may not know Triton's latest.
"""

_targets: list[int] = []


@contextmanager
def target(arch: int) -> Iterator[None]:
    """While it is open, plugins compile for that GPU.

    For the whole process: TensorRT may call plugins from threads of its own.

    Args:
        arch: compute capability times ten.
    """
    _targets.append(arch)
    try:
        yield
    finally:
        _targets.pop()


def register_plugins() -> None:
    """Registers the plugins, in namespace ``ddgan``; once in a process, however often it is called."""
    ops.load("trt_plugin")


def define(
    name: str,
    inputs: Sequence[str],
    attributes: Mapping[str, str],
    describe: Callable[[Node], trtp.TensorDesc],
    combinations: Callable[[Node], list[trtp.AutoTuneCombination]],
    kernel: Callable[[Node], Kernel],
) -> None:
    """Registers a plugin of domain ``ddgan``.

    Args:
        name: the node's op type.
        inputs: its tensors.
        attributes: name -> ONNX attribute type, as in `OpSpec`.
        describe: the output.
        combinations: types and formats of all tensors.
        kernel: what runs the node in the formats that its tensors then have.
    """
    plugin = f"{DOMAIN}::{name}"
    parameters = {**dict.fromkeys(inputs, trtp.TensorDesc), **{key: _TYPES[kind] for key, kind in attributes.items()}}
    with_outputs = {**parameters, "outputs": tuple[trtp.TensorDesc]}
    # Immediately: the ONNX parser looks for it in TensorRT's registry.
    trtp.register(plugin)(_signed(describe, parameters, trtp.TensorDesc))
    trtp.autotune(plugin)(_signed(combinations, with_outputs, list[trtp.AutoTuneCombination]))
    trtp.aot_impl(plugin)(_signed(kernel, {**with_outputs, "tactic": int}, Kernel))


def _signed(function: Callable[[Node], Any], parameters: Mapping[str, Any], returns: Any) -> Callable[..., Any]:
    """A function of a node as TensorRT calls it: with one parameter a tensor and attribute, all of them annotated."""

    def call(*values: Any, **named: Any) -> Any:
        given = {**dict(zip(parameters, values, strict=False)), **named}
        # The ONNX parser may leave the end mark on a string.
        return function(Node(**{key: v.rstrip("\0") if isinstance(v, str) else v for key, v in given.items()}))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    listed = [inspect.Parameter(key, kind, annotation=annotation) for key, annotation in parameters.items()]
    call.__signature__ = inspect.Signature(listed, return_annotation=returns)  # type: ignore[attr-defined]
    return call


def dtype_of(tensor: trtp.TensorDesc) -> str:
    """A tensor's element type by the kernels' name for it."""
    return _DTYPES[tensor.dtype]


def layout_of(tensor: trtp.TensorDesc) -> str:
    """A tensor's memory layout."""
    return NCHW if tensor.format == trt.TensorFormat.LINEAR else NHWC


def extents(tensor: trtp.TensorDesc) -> tuple[Any, ...]:
    """A tensor's shape where it is known but for the batch, which stays symbolic.

    Raises:
        ValueError: another extent is not known.
    """
    batch, *rest = tensor.shape_expr[0], *list(tensor.shape)[1:]
    if any(extent < 0 for extent in rest):
        raise ValueError(f"{DOMAIN}: a shape is {tuple(tensor.shape)}, only its batch may be dynamic")
    return batch, *rest


def combination(
    op: OpLaunches, tensors: Sequence[str], images: Sequence[str], layout: str, dtype: str
) -> trtp.AutoTuneCombination:
    """Types and formats of a plugin's tensors.

    Args:
        tensors: inputs and output, by the names of the op's arguments.
        images: those that have a memory layout; the others are linear.
        layout: of the images.
        dtype: element type T.
    """
    kinds = [_ELEMENTS[dtype if op.tensors[name] == "T" else op.tensors[name]] for name in tensors]
    image = _CHANNELS_LAST[dtype] if layout == NHWC else "LINEAR"
    formats = [image if name in images else "LINEAR" for name in tensors]
    return trtp.AutoTuneCombination(", ".join(kinds), ", ".join(formats), [TACTIC])


def choices(channels: int) -> list[tuple[str, str]]:
    """(layout, dtype) of images of that many channels.

    Channels-last, TensorRT rounds float16 channels up to eight, and the kernels know of no gaps.
    """
    return [
        (layout, dtype)
        for layout in (NCHW, NHWC)
        for dtype in _CHANNELS_LAST
        if layout == NCHW or dtype == "float32" or channels % 8 == 0
    ]


def choose(op: OpLaunches, layout: str, sizes: Mapping[str, Any]) -> Plan:
    """The op's first plan for these sizes, whatever the batch is.

    Raises:
        ValueError: none does.
    """
    return op.choose(layout, {**sizes, "batch": 1})


def tensorrt_kernel(op: OpLaunches, plan: Plan, launch: Launch, sizes: Mapping[str, Any], dtype: str) -> Kernel:
    """One launch as TensorRT asks for it.

    Args:
        sizes: the op's; batch and what follows from it are symbolic.
        dtype: element type T.
    """
    compiled = binary(op, plan, launch, dtype)
    every = all_sizes(plan, sizes)
    x, y, z = (evaluate(extent, every) for extent in launch.grid)
    parameters = trtp.KernelLaunchParams(x, y, z, launch.warps * WARP, 1, 1, compiled.shared_bytes)
    numbers = [trtp.SymInt32(every[name]) for name in launch.arguments if name not in op.tensors]
    return compiled.symbol, compiled.ptx, parameters, trtp.SymIntExprs.from_tuple(numbers)


@dataclass(frozen=True)
class Binary:
    """A compiled kernel.

    Attributes:
        symbol: its name in the PTX.
        ptx: takes the launch's arguments and no others.
        shared_bytes: shared memory a block.
    """

    symbol: str
    ptx: str
    shared_bytes: int


_binaries: dict[tuple[str, str, str, int], Binary] = {}


def binary(op: OpLaunches, plan: Plan, launch: Launch, dtype: str) -> Binary:
    """A launch compiled for the `target`, once in a process.

    Raises:
        RuntimeError: no target is open, or TensorRT cannot launch what the compiler made.
    """
    if not _targets:
        raise RuntimeError("ddgan's plugins do not know the GPU: build the engine inside trt_launch.target(arch)")
    key = (op.folder, plan.kernel_name(launch), dtype, _targets[-1])
    if key not in _binaries:
        _binaries[key] = _compile(op, plan, launch, dtype, _targets[-1])
    return _binaries[key]


def _compile(op: OpLaunches, plan: Plan, launch: Launch, dtype: str, arch: int) -> Binary:
    # Here, so that plugins can be registered without Triton.
    from .compile import compile_launch

    compiled = compile_launch(op, plan, launch, dtype, arch, _PTX_VERSIONS.get(arch, _OLDEST_PTX))
    metadata = compiled.metadata
    if metadata.global_scratch_size or metadata.profile_scratch_size or metadata.shared > _SHARED_BYTES:
        raise RuntimeError(f"{plan.kernel_name(launch)} needs memory that TensorRT does not give it")
    ptx = strip_scratch(compiled.asm["ptx"], metadata.name, len(launch.arguments))
    return Binary(metadata.name, ptx, metadata.shared)


def strip_scratch(ptx: str, symbol: str, arguments: int) -> str:
    """A kernel's PTX without the two pointers to scratch memory that Triton adds behind its arguments.

    TensorRT does not pass them, and the driver would read them from behind what it does pass.

    Raises:
        RuntimeError: the kernel takes something else behind its arguments, or uses them.
    """
    entry = re.search(rf"\.entry {re.escape(symbol)}\(([^)]*)\)", ptx)
    parameters = entry[1].split(",") if entry else []
    scratch = [parameter.split()[-1] for parameter in parameters[arguments:]]
    rest = ptx[entry.end() :] if entry else ""
    if not entry or len(scratch) != 2 or any(re.search(rf"\b{name}\b", rest) for name in scratch):
        raise RuntimeError(
            f"{symbol}: its PTX takes {len(parameters)} parameters, {arguments} and 2 unused ones expected"
        )
    return f"{ptx[: entry.start(1)]}{','.join(parameters[:arguments])}\n{ptx[entry.end(1) :]}"
