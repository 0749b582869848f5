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

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tensorrt as trt
import tensorrt.plugin as trtp

from .launch import NCHW, NHWC, WARP, Launch, OpLaunches, Plan, all_sizes, evaluate
from .op import DOMAIN

Kernel = tuple[str, str, trtp.KernelLaunchParams, trtp.SymIntExprs]
"""What TensorRT asks for: symbol, PTX, launch, and the int32 arguments between inputs and outputs."""

TACTIC = 1
"""TensorRT sets none where none is advertised, and the plugin object needs one."""

_DTYPES = {trt.float32: "float32", trt.float16: "float16"}
_ELEMENTS = {"float32": "FP32", "float16": "FP16", "int64": "INT64"}
_CHANNELS_LAST = {"float32": "HWC", "float16": "HWC8"}
_MODULES = ("adagn", "posterior_sample", "philox_normal")
_SHARED_BYTES = 48 * 1024
"""What a kernel has without asking for more, which TensorRT does not."""

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
    for folder in _MODULES:
        importlib.import_module(f".{folder}.trt_plugin", __package__)


def define(
    name: str,
    describe: Callable[..., Any],
    autotune: Callable[..., list[trtp.AutoTuneCombination]],
    implement: Callable[..., Kernel],
) -> None:
    """Registers a plugin of domain ``ddgan``.

    Args:
        name: the node's op type.
        describe: tensors, attributes -> output. Its annotations are read, so its module must not defer them.
        autotune: tensors, attributes, outputs -> types and formats.
        implement: tensors, attributes, outputs, tactic -> the kernel.
    """
    plugin = f"{DOMAIN}::{name}"
    # Immediately: the ONNX parser looks for it in TensorRT's registry.
    trtp.register(plugin)(describe)
    trtp.autotune(plugin)(autotune)
    trtp.aot_impl(plugin)(implement)


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


def text(attribute: str) -> str:
    """A string attribute, without the end mark that the ONNX parser may leave on it."""
    return attribute.rstrip("\0")


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
    from .aot import compile_launch

    compiled = compile_launch(op, plan, launch, dtype, arch)
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
