"""What the parity gates found, as plain data that manifests, reports and tables share."""

from __future__ import annotations

from dataclasses import dataclass

EQUAL_PSNR = 999.0
"""Stands for the PSNR of what is equal: JSON has no infinity."""


@dataclass(frozen=True)
class KeptLayer:
    """A layer that stays in fp32 in an fp16 or int8 export, and why."""

    layer: str
    reason: str


@dataclass(frozen=True)
class StepParity:
    """One denoising step of an engine against the reference, on the same noise.

    Attributes:
        step: k, in running order.
        t: T-1-k.
        x0_max_abs, x_prev_max_abs: largest absolute difference, in the tensors' own units.
        x0_psnr, x_prev_psnr: in dB for a range of twice the scale; 999 where equal.
        x0_scale, x_prev_scale: of the reference's values; 1 where they are of order one.
    """

    step: int
    t: int
    x0_max_abs: float
    x0_psnr: float
    x_prev_max_abs: float
    x_prev_psnr: float
    x0_scale: float = 1.0
    x_prev_scale: float = 1.0


@dataclass(frozen=True)
class Gate:
    """One pass/fail check.

    Attributes:
        name: what is checked, such as "step 2 (t=1) x0".
        passed: whether it held.
        measured, limit: both in ``unit``; the limit as it holds for these values, whose scale it follows.
        unit: of both; "dB" must be at least the limit, every other unit at most.
        where: for a failed gate, the op at which the drift begins.
    """

    name: str
    passed: bool
    measured: float
    limit: float
    unit: str
    where: str = ""

    def failure(self) -> str:
        """What failed, by how much, and where, on one line."""
        where = f", drifting at {self.where}" if self.where else ""
        return f"parity failed at {self.name}: {self.measured:.3g} {self.unit}, the limit is {self.limit:g}{where}"


@dataclass(frozen=True)
class ParityResult:
    """The outcome of all gates on one engine."""

    engine: str
    seeds: tuple[int, ...]
    steps: tuple[StepParity, ...]
    gates: tuple[Gate, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every gate held."""
        return all(gate.passed for gate in self.gates)

    @property
    def failures(self) -> tuple[Gate, ...]:
        """The gates that did not hold."""
        return tuple(gate for gate in self.gates if not gate.passed)
