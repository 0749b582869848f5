"""Theoretical occupancy: the share of an SM's warps that a kernel can keep resident.

Limits per SM are those of the table "Technical Specifications per Compute Capability"
of NVIDIA's CUDA Programming Guide; registers are given to a warp in units of 256,
shared memory to a block in units of 128 bytes (256 before compute capability 8),
plus 1 KiB that the system keeps a block from 8.0 on.
"""

from __future__ import annotations

from dataclasses import dataclass

from .launch import REGISTERS, WARP

_REGISTER_UNIT = 256


@dataclass(frozen=True)
class SM:
    """What one streaming multiprocessor holds."""

    warps: int
    blocks: int
    shared_kib: int
    reserved_bytes: int = 1024
    shared_unit: int = 128


SMS = {
    75: SM(warps=32, blocks=16, shared_kib=64, reserved_bytes=0, shared_unit=256),
    80: SM(warps=64, blocks=32, shared_kib=164),
    86: SM(warps=48, blocks=16, shared_kib=100),
    89: SM(warps=48, blocks=24, shared_kib=100),
    90: SM(warps=64, blocks=32, shared_kib=228),
    100: SM(warps=64, blocks=32, shared_kib=228),
    103: SM(warps=64, blocks=32, shared_kib=228),
    120: SM(warps=48, blocks=24, shared_kib=100),
    121: SM(warps=48, blocks=24, shared_kib=100),
}
"""Compute capability times ten -> its SM."""


def occupancy(arch: int, warps: int, registers: int, shared_bytes: int) -> float:
    """Resident warps over the most possible, 0..1.

    Args:
        arch: a key of `SMS`.
        warps: of one block.
        registers: of one thread.
        shared_bytes: of one block.

    Raises:
        KeyError: the architecture is not in the table.
    """
    sm = SMS[arch]
    warp_registers = -(-registers * WARP // _REGISTER_UNIT) * _REGISTER_UNIT
    by_registers = REGISTERS // warp_registers // warps if registers else sm.blocks
    shared = -(-shared_bytes // sm.shared_unit) * sm.shared_unit + sm.reserved_bytes
    by_shared = sm.shared_kib * 1024 // shared if shared else sm.blocks
    return min(sm.blocks, sm.warps // warps, by_registers, by_shared) * warps / sm.warps
