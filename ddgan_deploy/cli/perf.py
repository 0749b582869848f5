"""ddgan-perf: perf_analyzer against a running server, every request with its own seed."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.cli.knobs import add_knob_arguments, given_knobs
from ddgan_deploy.command import Parser, run
from ddgan_deploy.errors import GateError
from ddgan_deploy.screen import StepList, note, print_table, say, table_of
from ddgan_deploy.serving import MODEL, PNG_MODEL

if TYPE_CHECKING:
    from ddgan_deploy.serving.perf.result import Level, PerfResult
    from ddgan_deploy.serving.perf.run import PerfOptions

_COLUMNS = (
    "protocol",
    "in flight",
    "images/s",
    "p50 ms",
    "p90 ms",
    "p95 ms",
    "p99 ms",
    "queue",
    "compute",
    "batch",
    "errors",
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    return run(_main, argv)


def _main(argv: Sequence[str] | None) -> None:
    options = _options(argv)
    from ddgan_deploy.serving.perf import run as perf

    result = perf.run(options, StepList())
    _print_table(result)
    for path in (perf.RESULT, perf.PLOT):
        say(str(options.out / path))
    if again := result.repeated:
        note(f"note: {again} requests asked for images that had been drawn before: give other or more --seeds")
    if result.failures:
        level = result.failures[0]
        raise GateError(f"{level.protocol} at concurrency {level.concurrency} failed: {level.reason}")


def _print_table(result: PerfResult) -> None:
    table = table_of(*_COLUMNS, numbers=len(_COLUMNS) - 1)
    for level in result.levels:
        table.add_row(*_row(level))
    print_table(table)


def _row(level: Level) -> list[str]:
    cells = [level.protocol, str(level.concurrency)]
    client, server = level.client, level.server
    if client is None or server is None:
        return [*cells, *["-"] * 8, f"{level.errors} ({level.reason})"]
    latencies = (client.p50_ms, client.p90_ms, client.p95_ms, client.p99_ms)
    cells += [f"{client.images_per_s:.1f}", *(f"{value:.2f}" for value in latencies)]
    return [*cells, f"{server.queue_share:.0%}", f"{server.compute_share:.0%}", f"{server.mean_batch:.2f}", "0"]


def _concurrency(text: str) -> tuple[int, ...]:
    """Levels from "1,2,4" or, as perf_analyzer has it, "START:END" and "START:END:STEP"."""
    if re.fullmatch(r"\d{1,4}(,\d{1,4})*", text):
        return tuple(int(level) for level in text.split(","))
    match = re.fullmatch(r"(\d{1,4}):(\d{1,4})(:[1-9]\d{0,3})?", text)
    levels = range(int(match[1]), int(match[2]) + 1, int((match[3] or ":1")[1:])) if match else ()
    if not levels:
        # Not an InputError: argparse would take that for a ValueError of its own.
        raise argparse.ArgumentTypeError(f"{text!r} names no levels, give such as 1,2,4,8,16 or 1:16 or 2:16:2")
    return tuple(levels)


def _options(argv: Sequence[str] | None) -> PerfOptions:
    parser = Parser(
        prog="ddgan-perf",
        description="Measures a running server with perf_analyzer; every request asks for a seed of its own.",
    )
    parser.add_argument(
        "--url",
        action="append",
        required=True,
        metavar="HOST:PORT",
        help="of the server; twice for both protocols: the port is asked what it speaks, or http:// or grpc:// says it",
    )
    parser.add_argument("--protocol", choices=("grpc", "http"), help="of every --url that does not say it")
    parser.add_argument(
        "--concurrency",
        type=_concurrency,
        default=(1, 2, 4, 8, 16),
        metavar="LEVELS",
        help="requests in flight, a level after the other: a list, or START:END[:STEP] (default: 1,2,4,8,16)",
    )
    parser.add_argument(
        "--model",
        default=MODEL,
        help=f"{MODEL} (default): pixels; {PNG_MODEL}: PNG files",
    )
    parser.add_argument("--duration", type=float, default=5.0, metavar="S", help="seconds a level (default: 5)")
    parser.add_argument(
        "--warmup", type=int, default=32, metavar="N", help="requests a protocol before its first level (default: 32)"
    )
    parser.add_argument(
        "--seeds", type=int, default=65_536, metavar="N", help="distinct seeds a level (default: 65536)"
    )
    parser.add_argument(
        "--first-seed",
        type=int,
        metavar="SEED",
        help="the seeds count up from it (default: by chance, so that the server knows none of them)",
    )
    parser.add_argument("--out", type=Path, default=Path("ddgan-perf"), metavar="DIR", help="default: ddgan-perf")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run's results")
    add_knob_arguments(parser, "the requests take turns")
    args = parser.parse_args(argv)
    from ddgan_deploy.serving.address import parse_url
    from ddgan_deploy.serving.perf.run import PerfOptions

    urls = [url if "://" in url or not args.protocol else f"{args.protocol}://{url}" for url in args.url]
    return PerfOptions(
        addresses=tuple(parse_url(url) for url in urls),
        out=args.out,
        concurrency=args.concurrency,
        model=args.model,
        seconds=args.duration,
        seeds=args.seeds,
        first_seed=args.first_seed,
        warm_up=args.warmup,
        overwrite=args.overwrite,
        knobs=given_knobs(args),
    )


if __name__ == "__main__":
    sys.exit(main())
