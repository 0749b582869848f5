"""One launch of a Triton-language kernel -> its cubin and PTX, for any GPU, on a machine without one."""

from __future__ import annotations

import importlib

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from .launch import ALIGNMENT, WARP, Launch, OpLaunches, Plan

DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_ELEMENTS = {**DTYPES, "int64": "i64"}


def compile_launch(
    op: OpLaunches, plan: Plan, launch: Launch, dtype: str, arch: int, ptx_version: int | None = None
) -> triton.compiler.CompiledKernel:
    """One launch of a plan, compiled; its ``asm`` holds "ptx" and "cubin".

    Args:
        dtype: a key of `DTYPES`, for the arguments of type T.
        arch: compute capability times ten.
        ptx_version: of the PTX, times ten; None: that of Triton's own assembler.
    """
    kernel = getattr(importlib.import_module(f".{op.folder}.tl_kernel", __package__), launch.kernel)
    signature = {name: argument_type(op, name, dtype) for name in launch.arguments}
    signature |= dict.fromkeys(launch.constexprs, "constexpr")
    constants = {(kernel.arg_names.index(name),): value for name, value in launch.constexprs.items()}
    hinted = [name for name in launch.arguments if plan.aligned and name in (*op.tensors, *plan.multiples)]
    hints = {(kernel.arg_names.index(name),): [["tt.divisibility", ALIGNMENT]] for name in hinted}
    source = ASTSource(kernel, signature, constants, hints)
    target = GPUTarget("cuda", arch, WARP)
    with triton.knobs.compilation.scope():
        triton.knobs.compilation.disable_line_info = True
        return triton.compile(source, target=target, options={**launch.options, "ptx_version": ptx_version})


def argument_type(op: OpLaunches, argument: str, dtype: str) -> str:
    """Triton's name for an argument's type; every argument that is no tensor is an int32."""
    element = op.tensors.get(argument)
    return "i32" if element is None else "*" + _ELEMENTS[dtype if element == "T" else element]
