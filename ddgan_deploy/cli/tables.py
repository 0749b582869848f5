"""Result objects -> tables on stdout."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ddgan_deploy.artifact import SAMPLER, Artifact, Manifest
from ddgan_deploy.results import Gate, ParityResult

if TYPE_CHECKING:
    from rich.table import Table


def print_parity(parity: ParityResult) -> None:
    """Every gate with its measured value and limit."""
    _print(_parity_table(parity))


def print_export(artifact: Artifact) -> None:
    """What was exported, whether it holds, and what to run next."""
    manifest, path = artifact.manifest, artifact.path
    if manifest.parity:
        print_parity(manifest.parity)
    table = _table("", "")
    table.show_header = False
    for name, text in _facts(manifest):
        table.add_row(name, text)
    table.add_row("artifact", str(path))
    table.add_row("report", str(path / "report.html"))
    _print(table)
    if manifest.parity is None or manifest.parity.passed:
        print(f"next: ddgan-sample {path} --seeds 0-15 --out grid.png")


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    checkpoint, kept, files = manifest.checkpoint, manifest.kept_fp32, manifest.files
    sizes = ", ".join(f"{name} {info.bytes / 1e6:.2f}" for name, info in files.items())
    facts = {
        "checkpoint": f"{checkpoint.file}, {checkpoint.parameters / 1e6:.2f} M parameters",
        "steps": f"{manifest.steps}, {manifest.graphs[SAMPLER].nodes / manifest.steps:.0f} nodes a step",
        "precision": manifest.precision + (f", {len(kept)} layers kept in fp32" if kept else ""),
        "size": f"{sum(info.bytes for info in files.values()) / 1e6:.2f} MB ({sizes})",
        "parity": _verdict(manifest.parity),
    }
    return [*facts.items(), *(("kept in fp32", f"{layer.layer}: {layer.reason}") for layer in kept)]


def _verdict(parity: ParityResult | None) -> str:
    if parity is None:
        return "not verified (--no-verify)"
    gates, failed = len(parity.gates), len(parity.failures)
    return f"{failed} of {gates} gates FAILED" if failed else f"all {gates} gates passed"


def _parity_table(parity: ParityResult) -> Table:
    table = _table("gate", "measured", "limit", "")
    for gate in parity.gates:
        table.add_row(
            gate.name,
            _value(gate, gate.measured),
            _value(gate, gate.limit),
            "pass" if gate.passed else f"FAIL {gate.where}",
        )
    return table


def _value(gate: Gate, value: float) -> str:
    if gate.unit == "dB":
        return f"{value:.1f} dB"
    return f"{value:.2g} {gate.unit}"


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    # Off a terminal rich would cut tables to 80 columns.
    console = Console() if os.isatty(1) else Console(width=160)
    console.print(table)
