"""ddgan-bench: engines side by side in one run, and how near each comes to what the machine allows."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.command import Parser, run
from ddgan_deploy.screen import StepList, say

if TYPE_CHECKING:
    from ddgan_deploy.bench import BenchOptions


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    return run(_main, argv)


def _main(argv: Sequence[str] | None) -> None:
    options = _options(argv)
    from ddgan_deploy import bench
    from ddgan_deploy.cli.bench_tables import print_bench

    result = bench.run(options, StepList())
    print_bench(result)
    for path in filter(None, (options.json, options.plot)):
        say(str(path))


def _numbers(text: str) -> tuple[int, ...]:
    """Whole numbers from "1,4,16"."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        # Not an InputError: argparse would take that for a ValueError of its own.
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers, give such as 1,4,16")
    return tuple(int(number) for number in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _options(argv: Sequence[str] | None) -> BenchOptions:
    args = _parser().parse_args(argv)
    from ddgan_deploy.bench import BenchOptions

    return BenchOptions(
        artifacts=tuple(args.artifacts),
        batches=args.batch,
        threads=args.threads,
        runs=args.runs,
        seconds=args.seconds,
        engines=args.engines,
        checkpoint=args.ckpt,
        per_op=args.per_op,
        json=args.json,
        plot=args.plot,
        overwrite=args.overwrite,
    )


def _parser() -> Parser:
    parser = Parser(
        prog="ddgan-bench",
        description="Measures engines side by side, in turn, each in a process of its own: from noise to images.",
    )
    parser.add_argument(
        "artifacts",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="folder that ddgan-export wrote; several of one checkpoint, such as one a precision",
    )
    parser.add_argument(
        "--batch", type=_numbers, default=(1, 4, 16, 64), metavar="N", help="sizes, a list (default: 1,4,16,64)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of every engine on the CPU (default: all cores)")
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="of every row (default: 10)")
    parser.add_argument(
        "--seconds", type=float, default=30.0, metavar="S", help="a row ends then, after 3 runs or more (default: 30)"
    )
    parser.add_argument(
        "--engines",
        type=_names,
        metavar="NAMES",
        help="a list such as pytorch-eager,onnxruntime (default: all; a wrong name lists them)",
    )
    parser.add_argument(
        "--ckpt", type=Path, metavar="FILE", help="weights of the PyTorch rows (default: random ones, as fast)"
    )
    parser.add_argument("--per-op", metavar="ENGINE", help="tell where this engine's time goes, at the smallest batch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and the machine's")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw images/s over batch, .png or .svg")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
