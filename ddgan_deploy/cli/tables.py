"""Result objects -> tables on stdout."""

from __future__ import annotations

from collections.abc import Sequence

from ddgan_deploy.artifact.manifest import SAMPLER, SERVED, WEIGHTS, Artifact, Manifest
from ddgan_deploy.artifact.results import EQUAL_PSNR, Gate, ParityResult, Speeds
from ddgan_deploy.cli.knobs import asked_for
from ddgan_deploy.engines.speeds import may_be_taken
from ddgan_deploy.engines.tensorrt.plan import PLANS, TITLES, PlanInfo, plan_name
from ddgan_deploy.names import quoted
from ddgan_deploy.screen import Table, print_table, say, table_of

_WEIGHTS = {
    "ema": "the moving average (EMA)",
    "raw": "raw, not their moving average",
    "as stored": "as stored: the file does not tell whether they are the moving average (EMA)",
}


def print_parity(parity: ParityResult) -> None:
    """Every gate with its measured value and limit."""
    print_table(_parity_table(parity))


def print_export(artifact: Artifact, proven: Sequence[ParityResult], engines: Sequence[PlanInfo], choice: str) -> None:
    """What was exported, whether it holds, and what to run next.

    Args:
        artifact: as it was written.
        proven: gates that were run now, beside those of ``engines``.
        engines: of TensorRT that were made.
        choice: which runtime made engines, and why.
    """
    manifest, path = artifact.manifest, artifact.path
    parities = [*proven, *(engines[0].parity for engines in _by_runtime(engines))]
    for parity in parities:
        if parity:
            print_parity(parity)
    table = table_of("", "")
    table.show_header = False
    for name, text in _facts(manifest):
        table.add_row(name, text)
    for name, text in _engine_facts(manifest, engines, choice):
        table.add_row(name, text)
    table.add_row("artifact", str(path))
    if (report := path / "report.html").is_file():
        table.add_row("report", str(report))
    if (page := path / "web").is_dir():
        table.add_row("page", f"{page}, for any web server")
    print_table(table)
    if all(parity is None or parity.passed for parity in parities):
        say(f"next: ddgan-sample {quoted(path)} --seeds 0-15{asked_for(manifest.sampler.knobs)} --out grid.png")


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    checkpoint, kept, files = manifest.checkpoint, manifest.kept_fp32, manifest.files
    graphs = {name: files[name].bytes / 1e6 for name in (SAMPLER, SERVED, WEIGHTS)}
    sizes = ", ".join(f"{name} {size:.2f}" for name, size in graphs.items())
    facts = {
        "checkpoint": f"{checkpoint.file}, {checkpoint.parameters / 1e6:.2f} M parameters",
        "weights": _WEIGHTS[checkpoint.weights],
        "steps": f"{manifest.steps}, {_nodes(manifest)}",
        "precision": manifest.precision + (f", {len(kept)} layers kept in fp32" if kept else ""),
        "size": f"{sum(graphs.values()):.2f} MB ({sizes})",
        "parity": _verdict(manifest.parity),
    }
    if manifest.cpu_parity:
        facts[f"parity of {manifest.cpu_parity.engine}"] = _verdict(manifest.cpu_parity)
    if manifest.tuned:
        facts["engines here"] = _measured(manifest.tuned)
    return [
        *facts.items(),
        *assumed_facts(manifest),
        *(("kept in fp32", f"{layer.layer}: {layer.reason}") for layer in kept),
    ]


def _measured(speeds: Speeds) -> str:
    """The engines that may be taken on the machine that they were measured on, the fastest first."""
    times = {name: min(speeds.milliseconds[name].items()) for name in may_be_taken(speeds, speeds.proven)}
    return ", ".join(f"{name} {ms:.0f} ms at batch {batch}" for name, (batch, ms) in times.items())


def _nodes(manifest: Manifest) -> str:
    nodes = manifest.graphs[SAMPLER].nodes
    if manifest.looped:
        return f"one Loop in a graph of {nodes} nodes"
    return f"{nodes / manifest.steps:.0f} nodes a step"


def assumed_facts(manifest: Manifest) -> list[tuple[str, str]]:
    """What no gate can see, a row for each reason, and how to state it."""
    sources = dict.fromkeys(assumed.source for assumed in manifest.assumed)
    values = {
        source: ", ".join(f"{each.name} {each.value}" for each in manifest.assumed if each.source == source)
        for source in sources
    }
    rows = [("assumed", f"{what}: {source}") for source, what in values.items()]
    more = " and so on" if len(manifest.assumed) > 1 else ""
    return [*rows, ("to state them", f"{manifest.assumed[0].fix}{more}")] if rows else []


def _engine_facts(manifest: Manifest, engines: Sequence[PlanInfo], choice: str) -> list[tuple[str, str]]:
    facts = [("engines", choice)]
    for info in engines:
        name = plan_name(info)
        built = f"{manifest.files[name].bytes / 1e6:.2f} MB in {info.build_seconds:.1f} s"
        runs_on = f"for {', '.join(info.compute_capabilities)}, batch {info.profile}, {info.kernels} kernels"
        facts.append((name, f"{TITLES[info.runtime]} {info.version} {runs_on}, {built}"))
        facts += [
            (name, f"{kernels} kernels: {median:.2f} ms a batch of {info.profile.best}")
            for kernels, median in info.medians_ms.items()
        ]
        facts += [(name, f"no {kernels} kernels: {reason}") for kernels, reason in info.refused.items()]
    if engines and not any(info.parity for info in engines):
        facts.append(("parity of engines", "not run: that takes a GPU that runs them"))
    return facts


def _by_runtime(engines: Sequence[PlanInfo]) -> list[list[PlanInfo]]:
    return [made for runtime in PLANS if (made := [info for info in engines if info.runtime == runtime])]


def _verdict(parity: ParityResult | None) -> str:
    if parity is None:
        return "not verified (--no-verify)"
    gates, failed = len(parity.gates), len(parity.failures)
    return f"{failed} of {gates} gates FAILED" if failed else f"all {gates} gates passed"


def _parity_table(parity: ParityResult) -> Table:
    table = table_of("gate", "measured", "limit", "")
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
        if value >= EQUAL_PSNR:
            return "equal"
        return f"{value:.1f} dB"
    return f"{value:.2g} {gate.unit}"
