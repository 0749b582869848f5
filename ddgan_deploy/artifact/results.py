"""What the parity gates found, as plain data that manifests, reports and tables share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

EQUAL_PSNR = 999.0
"""Stands for the PSNR of what is equal: JSON has no infinity."""


@dataclass(frozen=True)
class KeptLayer:
    """A layer that stays in fp32 in an fp16 or int8 export, and why."""

    layer: str
    reason: str


@dataclass(frozen=True)
class ProbeParity:
    """One value inside an engine's sampler against the reference's, on the same noise.

    Attributes:
        place, value, column, step: of its `sampler.Probe`.
        max_abs: largest absolute difference, in the tensor's own units.
        psnr: in dB for a range of twice the scale; 999 where equal.
        scale: of the reference's values; 1 where they are of order one.
    """

    place: str
    value: str
    column: str
    step: int | None
    max_abs: float
    psnr: float
    scale: float = 1.0


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
    gates: tuple[Gate, ...]
    seconds: float
    probes: tuple[ProbeParity, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate held."""
        return all(gate.passed for gate in self.gates)

    @property
    def failures(self) -> tuple[Gate, ...]:
        """The gates that did not hold."""
        return tuple(gate for gate in self.gates if not gate.passed)


@dataclass(frozen=True)
class Speeds:
    """How fast engines ran an artifact on one machine.

    Attributes:
        machine: as `engines.speeds.this_machine` names it.
        milliseconds: engine -> batch size -> median time of a run.
        proven: engines of those that compute with fewer digits than the artifact promises, whose gates held.
    """

    machine: str
    milliseconds: Mapping[str, Mapping[int, float]]
    proven: tuple[str, ...] = ()
