"""How cost grows: with the batch, the steps, the image's size and the threads; one table, and one plot.

    python benchmarks/growth.py [--engine NAME] [--precision fp32|fp16|int8] [--only batch,steps,size] [--runs N]
                                [--json FILE] [--plot FILE]

Along each line one thing changes: the batch at CIFAR-10 size (T = 4), the steps of the same network as copies or, from
where an export takes it, one Loop (batch 1), and the size of the image of one network (64 channels, six levels, T = 2,
batch 1). Each with 1 and 2 threads, random weights, and without gates, which the tests hold. An exponent is the slope
of a line through the logarithms, least squares: at 1 twice as much takes twice as long.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddgan_deploy.bench import BenchOptions, run
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.files import written_whole
from ddgan_deploy.processor import cpu_model
from ddgan_deploy.sampler import Precision

sys.path.insert(0, str(Path(__file__).parent))
from export import SIZES, random_checkpoint

BATCHES, STEPS, EDGES, THREADS = (1, 2, 4, 8, 16, 32, 64), (1, 2, 4, 8, 16, 32, 64), (32, 64, 128, 256), (1, 2)
LINES = ("batch", "steps", "size")
TITLES = {"batch": "batch, 32×32, T = 4", "steps": "T, 32×32, batch 1", "size": "pixels along an edge, T = 2, batch 1"}


@dataclass(frozen=True)
class Point:
    """One measurement: what changes, how many threads, and what it took."""

    line: str
    value: int
    threads: int
    median_ms: float
    images_per_s: float
    peak_mb: float


def exported(size: str, steps: int, precision: Precision, folder: Path) -> Path:
    """An artifact of a published size, or of the network of sizes at ``"edge<pixels>"``."""
    checkpoint = folder / f"{size}.pth"
    if size.startswith("edge"):
        config = {**SIZES["celebahq256"]["config"], "image_size": int(size.removeprefix("edge"))}
        SIZES[size] = {"title": size, "steps": 2, "config": config}
    if not checkpoint.exists():
        random_checkpoint(size, checkpoint)
    arguments = folder / f"{size}-T{steps}.json"
    arguments.write_text(json.dumps({**SIZES[size]["config"], "num_timesteps": steps}))
    out = folder / f"{size}-T{steps}"
    options = ExportOptions(
        checkpoint,
        steps,
        fp16=precision == "fp16",
        int8=precision == "int8",
        config=arguments,
        out=out,
        engine="none",
        verify=False,
    )
    return out if out.exists() else export(options).artifact.path


def measured(line: str, engine: str, precision: Precision, runs: int, folder: Path) -> Iterator[Point]:
    """All points of a line."""
    cases: dict[int, tuple[Path, tuple[int, ...]]] = {}
    if line == "batch":
        cases[0] = (exported("cifar10", 4, precision, folder), BATCHES)
    for steps in STEPS if line == "steps" else ():
        cases[steps] = (exported("cifar10", steps, precision, folder), (1,))
    for edge in EDGES if line == "size" else ():
        cases[edge] = (exported(f"edge{edge}", 2, precision, folder), (1,))
    for threads in THREADS:
        for value, (artifact, batches) in cases.items():
            result = run(BenchOptions((artifact,), batches, threads, runs, engines=(engine,)))
            for row in result.rows:
                yield Point(line, value or row.batch, threads, row.median_ms, row.images_per_s, row.peak_mb)


def exponents(points: Sequence[Point]) -> dict[str, float]:
    """The slopes of time and of memory over what changes, in logarithms."""
    values = np.log([point.value for point in points])
    found = {"time": [point.median_ms for point in points], "memory": [point.peak_mb for point in points]}
    return {name: float(np.polyfit(values, np.log(of), 1)[0]) for name, of in found.items()}


def by_line(points: Sequence[Point]) -> dict[tuple[str, int], list[Point]]:
    """The points of each line and number of threads."""
    lines: dict[tuple[str, int], list[Point]] = {}
    for point in points:
        lines.setdefault((point.line, point.threads), []).append(point)
    return lines


def print_table(points: Sequence[Point]) -> None:
    """Markdown, a line a row."""
    print("| what grows | threads | values | images/s | time's exponent | peak MB | memory's exponent |")
    print("| --- | ---: | --- | --- | ---: | --- | ---: |")
    for (line, threads), those in by_line(points).items():
        slopes = exponents(those)
        values = ", ".join(str(point.value) for point in those)
        rates = ", ".join(f"{point.images_per_s:.3g}" for point in those)
        peaks = ", ".join(f"{point.peak_mb:.0f}" for point in those)
        print(f"| {TITLES[line]} | {threads} | {values} | {rates} | {slopes['time']:.2f} | {peaks} |", end=" ")
        print(f"{slopes['memory']:.2f} |")


def draw(points: Sequence[Point], engine: str, path: Path) -> None:
    """One picture: images a second over what grows, and beside it the memory."""
    from ddgan_deploy import plots

    lines = by_line(points)
    panels = []
    for name in dict.fromkeys(point.line for point in points):
        for of, told in (("images_per_s", "images/s"), ("peak_mb", "peak MB")):
            those = [
                plots.Line(
                    f"{threads} thread{'s' if threads > 1 else ''}",
                    [(point.value, getattr(point, of)) for point in lines.get((name, threads), [])],
                    style,
                )
                for style, threads in enumerate(THREADS)
            ]
            panels.append(plots.Panel(told, TITLES[name], those, logarithmic=True))
    plots.draw(panels, "How cost grows", f"{engine}, {cpu_model()}", path, columns=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--precision", choices=("fp32", "fp16", "int8"), default="fp32")
    parser.add_argument("--only", type=lambda text: tuple(text.split(",")), default=LINES, metavar="LINES")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    points: list[Point] = []
    with tempfile.TemporaryDirectory() as folder:
        for line in args.only:
            points += measured(line, args.engine, args.precision, args.runs, Path(folder))
    print(f"\n{args.engine}, {args.precision}, on {cpu_model()}\n")
    print_table(points)
    if args.json:
        record: Mapping[str, Any] = {"cpu": cpu_model(), "points": [asdict(point) for point in points]}
        with written_whole(args.json) as partial:
            partial.write_text(json.dumps(record, indent=2) + "\n")
    if args.plot:
        draw(points, f"{args.engine}, {args.precision}", args.plot)


if __name__ == "__main__":
    main()
