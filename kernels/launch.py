"""How a Triton-language kernel is launched, as data.

An op's ``launches.py`` states, for every memory layout, the ways to run it: which
kernels, with which compile-time constants, on which grid, with which arguments in
which order, and for which sizes. All that launches a kernel reads that statement:
the PyTorch launcher, the interpreter, the ahead-of-time compiler (and through its
index the C++ CUDA ops), and the TensorRT plugins. So it holds formulas, not
functions: sums and products that a reader evaluates with integers or with
TensorRT's symbolic ones.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NCHW, NHWC, LINEAR = "nchw", "nhwc", "linear"
"""Memory layouts; LINEAR: the op takes any, as long as all its tensors share it."""

ALIGNMENT = 16
"""Bytes that the pointers, and elements that the ``multiples`` of an aligned plan are multiples of."""


@dataclass(frozen=True)
class CeilDiv:
    """ceil(product of the sizes / by)."""

    sizes: tuple[str, ...]
    by: int


Extent = tuple[str | int | CeilDiv, ...]
"""A product of sizes by name, numbers and `CeilDiv`; 1 where it is empty."""

Grid = tuple[Extent, Extent, Extent]
"""Extents of x, y and z."""

WARP = 32
REGISTERS = 65536
"""32-bit registers of an SM."""
_MOST_REGISTERS = 255


@dataclass(frozen=True)
class Launch:
    """One kernel on one grid.

    Attributes:
        kernel: name of the function in the op's ``tl_kernel.py``.
        arguments: the kernel's run-time parameters in order: input tensors, then int32
            sizes, then output tensors (the order that TensorRT asks for).
        constexprs: its compile-time parameters.
        grid: programs.
        warps: warps of 32 threads a program.
    """

    kernel: str
    arguments: tuple[str, ...]
    constexprs: Mapping[str, int]
    grid: Grid
    warps: int

    @property
    def name(self) -> str:
        """The kernel and its constants, such as ``adagn_fused_nchw_channels8_pixels64``."""
        return "_".join((self.kernel, *(f"{key.lower()}{value}" for key, value in self.constexprs.items())))

    @property
    def options(self) -> dict[str, int]:
        """What the compiler is told besides.

        All the registers that an SM has for one program: left to itself, ptxas spills
        a few of them to fit one program more.
        """
        return {"num_warps": self.warps, "maxnreg": min(_MOST_REGISTERS, REGISTERS // (self.warps * WARP))}


@dataclass(frozen=True)
class Plan:
    """One way to run an op: its launches one after another.

    Attributes:
        layout: memory layout of the image tensors.
        launches: in their order.
        fits: size -> (least, most) that this plan serves.
        multiples: sizes that must be multiples of `ALIGNMENT`. Where there are any the plan is
            aligned: pointers must be multiples of as many bytes, and the compiler is told so
            and widens accesses.
        derived: further sizes, by formulas of the op's own.
        temporaries: float32 tensors between the launches, name -> shape.
    """

    layout: str
    launches: tuple[Launch, ...]
    fits: Mapping[str, tuple[int, int]]
    multiples: tuple[str, ...] = ()
    derived: Mapping[str, Extent] = field(default_factory=dict)
    temporaries: Mapping[str, tuple[Extent, ...]] = field(default_factory=dict)

    @property
    def aligned(self) -> bool:
        """See ``multiples``."""
        return bool(self.multiples)

    @property
    def name(self) -> str:
        """Name of its first kernel."""
        return self.kernel_name(self.launches[0])

    def kernel_name(self, launch: Launch) -> str:
        """Name of one of its launches as it is compiled, with ``_aligned`` where that is assumed."""
        return launch.name + ("_aligned" if self.aligned else "")

    def serves(self, layout: str, sizes: Mapping[str, int], aligned: bool) -> bool:
        """Whether this plan runs the op on these sizes; ``aligned``: whether all pointers are."""
        return (
            layout == self.layout
            and all(least <= sizes[size] <= most for size, (least, most) in self.fits.items())
            and (not self.aligned or (aligned and all(sizes[size] % ALIGNMENT == 0 for size in self.multiples)))
        )


@dataclass(frozen=True)
class OpLaunches:
    """All the ways to run one op.

    Attributes:
        op: its name in domain ``ddgan``.
        folder: its package under ``kernels``.
        tensors: argument -> element type: ``T``, the dtype that the kernels are compiled
            for, or ``float32``, ``int64``. Every other argument is an int32 size.
        plans: the fastest first.
    """

    op: str
    folder: str
    tensors: Mapping[str, str]
    plans: tuple[Plan, ...]

    def choose(self, layout: str, sizes: Mapping[str, int], aligned: bool = True) -> Plan:
        """The first plan that serves the sizes.

        Raises:
            ValueError: none does.
        """
        for plan in self.plans:
            if plan.serves(layout, sizes, aligned):
                return plan
        stated = ", ".join(f"{name} {value}" for name, value in sizes.items())
        raise ValueError(f"{self.op}: no Triton-language kernel serves layout {layout} with {stated}")


def evaluate(extent: Extent, sizes: Mapping[str, Any]) -> Any:
    """An extent's value, from integers or any type with +, * and // by an integer on its right."""
    product: Any = 1
    for factor in extent:
        value: Any
        if isinstance(factor, CeilDiv):
            value = (evaluate(factor.sizes, sizes) + (factor.by - 1)) // factor.by
        else:
            value = factor if isinstance(factor, int) else sizes[factor]
        product = product * value if isinstance(value, int) else value * product
    return product


def all_sizes(plan: Plan, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """The op's sizes with the plan's derived ones."""
    return {**sizes, **{name: evaluate(extent, sizes) for name, extent in plan.derived.items()}}


def float_bits(value: float) -> int:
    """A float32's bits as int32.

    TensorRT passes no float to a Triton-language kernel, only int32; the kernel reads the bits back.
    """
    (bits,) = struct.unpack("<i", struct.pack("<f", value))
    return int(bits)


def launches(ops: Iterable[OpLaunches]) -> Sequence[tuple[OpLaunches, Plan, Launch]]:
    """Every launch of the ops, with what it belongs to."""
    return [(op, plan, launch) for op in ops for plan in op.plans for launch in plan.launches]


def word_bits(value: int) -> int:
    """An unsigned 32-bit number's bits as int32."""
    return value - 2**32 if value >= 2**31 else value
