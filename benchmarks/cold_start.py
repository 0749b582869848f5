"""One image from a cold start, as ddgan-sample draws it: where the time goes, and how much memory it takes.

    python benchmarks/cold_start.py [DIR] [--engines a,b] [--threads N] [--runs 5] [--prepared] [--json FILE]

Without DIR it exports CIFAR-10 size with T = 4 from random weights first. Every run is a process of its own, which
takes the time at four places: when Python runs its first line (start), when what ddgan-sample needs is imported
(import), when the artifact is open (load), and when the image is there (first image: sessions are made at first use);
the rest of the total, as the shell sees it, is Python's own start and end. "CPU" is what all processors worked for the
process until then: where other work runs it tells more than the time. Engines run in turn; figures are medians, and so
is the peak memory of the process. "Cold" is the process: files are in the page cache. With ``--prepared`` every engine
takes turns with itself where graphs have been prepared (DDGAN_PREPARED, a folder of the run's own).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ddgan_deploy.engines import ENGINES

sys.path.insert(0, str(Path(__file__).parent))
from export import SIZES, random_checkpoint

SIZE = "cifar10"
CHILD = """
import json, os, sys, time
start = time.time()
artifact, engine, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]) or None
import ddgan_deploy.cli.sample
import ddgan_deploy.engines
import ddgan_deploy.images
imported = time.time()
opened = ddgan_deploy.engines.open_artifact(artifact, engine, threads)
loaded = time.time()
opened.generate([0])
drawn = time.time()
from ddgan_deploy.bench.worker.sampling import peak_mb
seen = {"start": start, "import": imported, "load": loaded, "image": drawn}
print(json.dumps(seen | {"cpu": sum(os.times()[:2]), "peak_mb": peak_mb()}))
"""
COLUMNS = ("start_s", "import_s", "load_s", "first_image_s", "total_s", "cpu_s", "peak_mb")


def cold_start(artifact: Path, engine: str, threads: int, prepared: str = "") -> dict[str, float]:
    """One process: seconds of each part, and its peak memory.

    Args:
        artifact: its folder.
        engine: its name.
        threads: of the engine; 0: all cores.
        prepared: the folder of prepared graphs; empty: there is none.

    Raises:
        SystemExit: the engine cannot run here; its message is the reason.
    """
    begun = time.time()
    command = [sys.executable, "-c", CHILD, str(artifact), engine, str(threads)]
    environment = {**os.environ, "DDGAN_PREPARED": prepared}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    ended = time.time()
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise SystemExit(last.partition("InputError: ")[2] or last)
    seen = json.loads(process.stdout.splitlines()[-1])
    return {
        "start_s": seen["start"] - begun,
        "import_s": seen["import"] - seen["start"],
        "load_s": seen["load"] - seen["import"],
        "first_image_s": seen["image"] - seen["load"],
        "total_s": ended - begun,
        "cpu_s": seen["cpu"],
        "peak_mb": seen["peak_mb"],
    }


def measure(artifact: Path, args: argparse.Namespace, prepared: str) -> dict[str, dict[str, float]]:
    """Row -> medians of its runs, which take turns; engines that cannot run here are left out, and said."""
    ways = {engine: (engine, "") for engine in args.engines}
    if args.prepared:
        ways |= {f"{engine}, prepared": (engine, prepared) for engine in args.engines if engine.startswith("onnx")}
    runs: dict[str, list[dict[str, float]]] = {}
    for row, (engine, folder) in ways.items():
        try:
            # Not counted: it brings files into the page cache, and prepares.
            cold_start(artifact, engine, args.threads, folder)
            runs[row] = []
        except SystemExit as error:
            print(f"not measured: {row}: {error}", file=sys.stderr)
    for _ in range(args.runs):
        for row, seen in runs.items():
            engine, folder = ways[row]
            seen.append(cold_start(artifact, engine, args.threads, folder))
    return {
        row: {column: statistics.median(run[column] for run in seen) for column in COLUMNS}
        for row, seen in runs.items()
    }


def export_random(folder: Path) -> Path:
    """An artifact of CIFAR-10 size."""
    from ddgan_deploy.export import ExportOptions, export

    checkpoint = folder / f"{SIZE}.pth"
    random_checkpoint(SIZE, checkpoint)
    steps = SIZES[SIZE]["steps"]
    return export(ExportOptions(checkpoint, steps, out=folder / SIZE, engine="none", verify=False)).artifact.path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("artifact", nargs="?", type=Path, metavar="DIR")
    parser.add_argument("--engines", type=lambda text: tuple(text.split(",")), default=ENGINES, help="(default: all)")
    parser.add_argument("--threads", type=int, default=0, help="(default: all cores)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--prepared", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(args.artifact or export_random(Path(folder)), args, str(Path(folder, "prepared")))
    print("| engine | start s | import s | load s | first image s | total s | CPU s | peak MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for engine, row in rows.items():
        seconds = " | ".join(f"{row[column]:.2f}" for column in COLUMNS[:-1])
        print(f"| {engine} | {seconds} | {row['peak_mb']:.0f} |")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
