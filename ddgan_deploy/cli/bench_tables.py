"""What ddgan-bench found -> tables on stdout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ddgan_deploy.screen import print_table, say, table_of

if TYPE_CHECKING:
    from ddgan_deploy.bench.results import BenchResult, Environment, OpShare, PerOp, Row, Skipped

_COLUMNS = (
    "engine",
    "precision",
    "batch",
    "median ms",
    "p95 ms",
    "images/s",
    "× eager",
    "of limit",
    "peak MB",
    "import s",
    "load s",
    "runs",
)


def print_bench(result: BenchResult) -> None:
    """The rows, which are doubtful, what is not among them and why, the machine, and where time goes."""
    table = table_of(*_COLUMNS, numbers=len(_COLUMNS) - 2)
    for row in result.rows:
        table.add_row(*_cells(row))
    print_table(table)
    for line in (*doubtful_lines(result), *skipped_lines(result.skipped)):
        say(line)
    for line in _environment_lines(result.environment):
        say(line)
    for per_op in result.per_op:
        _print_per_op(per_op)


def _cells(row: Row) -> list[str]:
    memory = f"{row.peak_mb:.0f}" if row.gpu_peak_mb is None else f"{row.peak_mb:.0f} + GPU {row.gpu_peak_mb:.0f}"
    return [
        row.engine,
        row.precision,
        str(row.batch),
        f"{row.median_ms:.2f}",
        f"{row.p95_ms:.2f}",
        f"{row.images_per_s:.2f}",
        number(row.speedup_vs_eager),
        percent(row.roofline_share),
        memory,
        f"{row.import_s:.1f}",
        f"{row.load_s:.1f}",
        str(row.runs),
    ]


def doubtful_lines(result: BenchResult) -> list[str]:
    """One line a row that cannot be right."""
    doubtful = [row for row in result.rows if row.doubtful]
    return [f"doubtful: {row.engine} {row.precision}, batch {row.batch}: {row.doubtful}" for row in doubtful]


def skipped_lines(skipped: Sequence[Skipped]) -> list[str]:
    """One line a reason, with all that it holds for."""
    names: dict[str, list[str]] = {}
    for each in skipped:
        parts = [each.engine, each.precision or "", f"batch {each.batch}" if each.batch else ""]
        names.setdefault(each.reason, []).append(" ".join(filter(None, parts)))
    return [f"not measured: {', '.join(dict.fromkeys(concerned))}: {reason}" for reason, concerned in names.items()]


def _environment_lines(here: Environment) -> list[str]:
    image = "×".join(map(str, here.image))
    weights = "random weights" if here.pytorch_weights == "random" else f"weights of {here.pytorch_weights}"
    lines = [
        f"{image}, {here.steps} steps, {here.gflop_per_image:.1f} GFLOP an image; PyTorch rows with {weights}",
        f"{here.cpu}, {here.threads} of {here.cores} cores{f', {here.gpu}' if here.gpu else ''}",
    ]
    for device, rates in here.rates.items():
        products = ", ".join(f"{dtype} {rate / 1e9:.0f}" for dtype, rate in rates.flops.items())
        lines.append(
            f"limit on {device} ({rates.source}): products {products} GFLOP/s, copies {rates.bytes / 1e9:.1f} GB/s"
        )
    return lines


def _print_per_op(per_op: PerOp) -> None:
    say("")
    say(f"{per_op.engine}, {per_op.precision}, batch {per_op.batch}: time by op type")
    _print_shares(per_op.by_type, ("op", "nodes", "ms", "share", "of its limit"), lambda share: [share.op_type])
    say("the slowest layers, all steps together")
    _print_shares(
        per_op.top,
        ("op", "layer", "output", "nodes", "ms", "share", "of its limit"),
        lambda share: [share.op_type, share.layer or "-", "×".join(map(str, share.shape))],
    )


def _print_shares(shares: Sequence[OpShare], columns: Sequence[str], names: Callable[[OpShare], list[str]]) -> None:
    table = table_of(*columns, numbers=4)
    for share in shares:
        figures = [str(share.count), f"{share.ms:.3f}", f"{share.share:.1%}", percent(share.roofline_share)]
        table.add_row(*names(share), *figures)
    print_table(table)


def number(value: float | None) -> str:
    """A cell; "-" for what was not measured."""
    return "-" if value is None else f"{value:.2f}"


def percent(value: float | None) -> str:
    """As `number`, of a share."""
    return "-" if value is None else f"{value:.0%}"
