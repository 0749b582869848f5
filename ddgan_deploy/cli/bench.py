"""ddgan-bench: engines side by side in one run, and how near each comes to what the machine allows."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ddgan_deploy.bench.options import BenchOptions
from ddgan_deploy.cli.arguments import add_arguments, given
from ddgan_deploy.command import Parser, run
from ddgan_deploy.screen import StepList, say


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


def _options(argv: Sequence[str] | None) -> BenchOptions:
    parser = Parser(
        prog="ddgan-bench",
        description="Measures engines side by side, in turn, each in a process of its own: from noise to images.",
    )
    add_arguments(parser, BenchOptions)
    return BenchOptions(**given(parser.parse_args(argv), BenchOptions))


if __name__ == "__main__":
    sys.exit(main())
