"""What each exact rewrite of the graph gives: the sampler without it against the sampler with all, in one run.

    python benchmarks/rewrites.py [--engines NAME ...] [--batch N ...] [--threads 2] [--rounds 15] [--json FILE]

Exports the CIFAR-10-size generator (random weights, T = 4, fp32) once with every rewrite of export/graph/rewriting.py,
and once without each. For every engine and batch they draw the same noise in turn, so that a busy machine slows
all alike. A figure over 1 says how many times slower the sampler is without that rewrite: the median, and the
quartiles, over the rounds of the ratio of times within a round; and the ratio of the best times, since what else
runs on a machine only adds to them.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddgan_deploy.artifact.manifest import SAMPLER, SERVED, WEIGHTS, write_manifest
from ddgan_deploy.artifact.reading import file_infos
from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.engines import open_artifact
from ddgan_deploy.engines.base import Engine
from ddgan_deploy.export.families.ddgan import GRAPHS
from ddgan_deploy.export.pipeline import build_graphs
from ddgan_deploy.export.recipe import Recipe
from ddgan_deploy.inputs import Inputs, draw
from ddgan_deploy.progress import Clock

sys.path.insert(0, str(Path(__file__).parent))
from export import random_checkpoint

SIZE, STEPS = "cifar10", 4
ALL = "all"


def export_variants(folder: Path) -> dict[str, Path]:
    """Folders with the graphs of every variant: `ALL`, and by the name of the rewrite that is left out."""
    path = folder / f"{SIZE}.pth"
    random_checkpoint(SIZE, path)
    checkpoint = load_checkpoint(path)
    sampling = checkpoint.choose(STEPS)
    variants = {ALL: folder / ALL} | {rewrite.name: folder / rewrite.name for rewrite in GRAPHS.rewrites}
    for name, target in variants.items():
        target.mkdir()
        recipe = Recipe(checkpoint, sampling, "fp32", without=() if name == ALL else (name,))
        manifest = build_graphs(target, recipe, Clock())
        files = file_infos(target, [SAMPLER, SERVED, WEIGHTS])
        write_manifest(target, dataclasses.replace(manifest, files=files))
    return variants


def interleaved(engines: Mapping[str, Engine], inputs: Inputs, rounds: int) -> dict[str, list[float]]:
    """Seconds of every engine in every round, after one for warming up."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    order = collections.deque(engines.items())
    for _ in range(rounds + 1):
        order.rotate()  # else the same one would always run after the same other one
        for name, engine in order:
            start = time.perf_counter()
            engine.sample(inputs)
            times[name].append(time.perf_counter() - start)
    return {name: seen[1:] for name, seen in times.items()}


def rows(variants: Mapping[str, Path], args: argparse.Namespace) -> list[dict[str, Any]]:
    """One a rewrite, engine and batch."""
    found = []
    for engine in args.engines:
        # Weights of all variants of one engine at once are what fits into memory.
        opened = {name: open_artifact(folder, engine, args.threads) for name, folder in variants.items()}
        for batch in args.batch:
            inputs = draw(opened[ALL].artifact.manifest.sampler, range(batch))
            times = interleaved(opened, inputs, args.rounds)
            whole = times.pop(ALL)
            for name, seen in times.items():
                ratios = [without / all_ for without, all_ in zip(seen, whole, strict=True)]
                quartiles = statistics.quantiles(ratios, n=4)
                found.append(
                    {
                        "engine": engine,
                        "batch": batch,
                        "rewrite": name,
                        "all_ms": statistics.median(whole) * 1e3,
                        "without_ms": statistics.median(seen) * 1e3,
                        "ratio": quartiles[1],
                        "quartiles": [quartiles[0], quartiles[2]],
                        "ratio_of_best": min(seen) / min(whole),
                    }
                )
        for one in opened.values():
            one.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engines", nargs="+", default=["onnxruntime", "onnxruntime-portable"], metavar="NAME")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], metavar="N")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = rows(export_variants(Path(folder)), args)
    print("| engine | batch | rewrite | with all ms | without it ms | times slower | quartiles | of the best |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for row in found:
        print(
            f"| {row['engine']} | {row['batch']} | {row['rewrite']} | {row['all_ms']:.0f} | {row['without_ms']:.0f} "
            f"| {row['ratio']:.3f} | {row['quartiles'][0]:.3f}, {row['quartiles'][1]:.3f} "
            f"| {row['ratio_of_best']:.3f} |"
        )
    if args.json:
        args.json.write_text(json.dumps({"rows": found, "threads": args.threads}, indent=2) + "\n")


if __name__ == "__main__":
    main()
