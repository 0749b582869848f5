"""Every engine on the published sizes, from random weights: the README's table of speed.

    python benchmarks/speed.py [--sizes NAME ...] [--fp16] [--int8] [--batch 1,8] [--engines a,b] [--build tensorrt]
                               [--threads N] [--runs N] [--json FILE]

Exports CIFAR-10 size with T = 4, or CelebA-HQ 256 size with T = 2, into a temporary folder and measures it with
ddgan-bench's own API; prints one Markdown table a size. FILE is written anew after each batch size.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ddgan_deploy.artifact.engine_files import BatchProfile
from ddgan_deploy.bench import BenchOptions, BenchResult, run
from ddgan_deploy.cli.bench_tables import number, percent, skipped_lines
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.export.tensorrt.options import EngineOptions
from ddgan_deploy.files import written_whole
from ddgan_deploy.screen import StepList

sys.path.insert(0, str(Path(__file__).parent))
from export import SIZES, random_checkpoint


def measure(
    size: str, folder: Path, args: argparse.Namespace, so_far: Callable[[BenchResult], None] | None = None
) -> BenchResult:
    """Exports one size in each precision, and measures all engines on them; tells after each batch what there is."""
    checkpoint = folder / f"{size}.pth"
    random_checkpoint(size, checkpoint)
    artifacts, batches = [], sorted(args.batch)
    profile = BatchProfile(1, batches[len(batches) // 2], batches[-1])
    for precision in ("fp32", *(["fp16"] if args.fp16 else []), *(["int8"] if args.int8 else [])):
        options = ExportOptions(
            checkpoint,
            SIZES[size]["steps"],
            fp16=precision == "fp16",
            int8=precision == "int8",
            out=folder / f"{size}-{precision}",
            engine=args.build,
            engine_options=EngineOptions(profile=profile),
            # The tests hold parity; here it would only take time.
            verify=False,
        )
        artifacts.append(export(options).artifact.path)
    return run(
        BenchOptions(
            tuple(artifacts),
            batches=args.batch,
            threads=args.threads,
            runs=args.runs,
            engines=args.engines,
            checkpoint=checkpoint,
        ),
        StepList(),
        so_far,
    )


def print_table(size: str, result: BenchResult) -> None:
    """A Markdown table, and the lines that belong to it."""
    here = result.environment
    print(f"\n{SIZES[size]['title']}, on {here.threads} threads of {here.cpu}\n")
    print("| engine | precision | batch | median ms | p95 ms | images/s | × eager | of limit | peak MB | load s |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in result.rows:
        faster, share = number(row.speedup_vs_eager), percent(row.roofline_share)
        times = f"{row.median_ms:.0f} | {row.p95_ms:.0f} | {row.images_per_s:.2f}"
        memory = f"{row.peak_mb:.0f} | {row.load_s:.1f}"
        print(f"| {row.engine} | {row.precision} | {row.batch} | {times} | {faster} | {share} | {memory} |")
    for line in skipped_lines(result.skipped):
        print(f"\n{line}")
    for device, rates in here.rates.items():
        products = ", ".join(f"{dtype} {rate / 1e9:.0f}" for dtype, rate in rates.flops.items())
        print(f"\nlimit on {device}: products {products} GFLOP/s, copies {rates.bytes / 1e9:.1f} GB/s ({rates.source})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["cifar10"])
    parser.add_argument("--fp16", action="store_true", help="float16 artifacts, too")
    parser.add_argument("--int8", action="store_true", help="int8 artifacts, too")
    parser.add_argument("--batch", type=lambda text: tuple(map(int, text.split(","))), default=(1, 8))
    parser.add_argument("--engines", type=lambda text: tuple(text.split(",")), help="(default: all)")
    parser.add_argument("--build", choices=("none", "tensorrt", "tensorrt-rtx"), default="none", help="an engine, too")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results: dict[str, Any] = {}

    def keep(size: str, result: BenchResult) -> None:
        results[size] = result.as_dict()
        if args.json:
            with written_whole(args.json) as partial:
                partial.write_text(json.dumps(results, indent=2) + "\n")

    for size in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            result = measure(size, Path(folder), args, functools.partial(keep, size))
        print_table(size, result)
        keep(size, result)


if __name__ == "__main__":
    main()
