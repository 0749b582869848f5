"""``launches.txt``: the launches of a compiled folder, for programs that read no Python.

Lines of words. The first is ``ddgan-launches 1``. Then, for each architecture, dtype
and op, its plans in the order of choice:

    plan OP LAYOUT DTYPE ARCH ALIGNED      ALIGNED is 0 or the multiple that pointers and `multiple` sizes need
    fits SIZE LEAST MOST
    multiple SIZE
    derived SIZE EXTENT
    temporary NAME EXTENT ...              a float32 tensor of that shape
    launch FILE SYMBOL THREADS SHARED      THREADS and bytes of SHARED memory a block
    grid X Y Z                             three extents
    arguments NAME:KIND ...                KIND is pointer or int32; two null pointers follow
    end

An extent is a product, its factors joined by ``*``: a size's name, a number, or
``ceil(A*B/K)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Protocol

from .launch import ALIGNMENT, WARP, CeilDiv, Extent, Launch, OpLaunches, Plan


class _Task(Protocol):
    @property
    def op(self) -> OpLaunches: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def launch(self) -> Launch: ...
    @property
    def dtype(self) -> str: ...
    @property
    def arch(self) -> int: ...


class _Kernel(Protocol):
    @property
    def file(self) -> str: ...
    @property
    def symbol(self) -> str: ...
    @property
    def shared_bytes(self) -> int: ...


def launch_index(compiled: Iterable[tuple[_Task, _Kernel]]) -> str:
    """The file's text, from the compiled kernels in the order of their plans."""
    lines = ["ddgan-launches 1"]
    for (arch, dtype, _), items in groupby(compiled, lambda item: (item[0].arch, item[0].dtype, id(item[0].plan))):
        members = list(items)
        task = members[0][0]
        lines += _plan(task.op, task.plan, dtype, arch)
        for each, kernel in members:
            lines += _launch(each.op, each.launch, kernel)
        lines.append("end")
    return "\n".join(lines) + "\n"


def _plan(op: OpLaunches, plan: Plan, dtype: str, arch: int) -> Iterator[str]:
    yield f"plan {op.op} {plan.layout} {dtype} {arch} {ALIGNMENT if plan.aligned else 0}"
    for size, (least, most) in plan.fits.items():
        yield f"fits {size} {least} {most}"
    for size in plan.multiples:
        yield f"multiple {size}"
    for size, extent in plan.derived.items():
        yield f"derived {size} {extent_text(extent)}"
    for name, shape in plan.temporaries.items():
        yield f"temporary {name} {' '.join(extent_text(extent) for extent in shape)}"


def _launch(op: OpLaunches, launch: Launch, kernel: _Kernel) -> Iterator[str]:
    yield f"launch {kernel.file} {kernel.symbol} {launch.warps * WARP} {kernel.shared_bytes}"
    yield f"grid {' '.join(extent_text(extent) for extent in launch.grid)}"
    kinds = (f"{name}:{'pointer' if name in op.tensors else 'int32'}" for name in launch.arguments)
    yield f"arguments {' '.join(kinds)}"


def extent_text(extent: Extent) -> str:
    """An extent as one word."""
    return "*".join(
        f"ceil({'*'.join(factor.sizes)}/{factor.by})" if isinstance(factor, CeilDiv) else str(factor)
        for factor in extent or (1,)
    )
