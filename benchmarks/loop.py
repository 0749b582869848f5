"""Exports the bundled digits as T copies of the step and as one Loop, and opens and runs both in one run.

    python benchmarks/loop.py [--json FILE] [--steps 4 64] [--threads N] [--runs N]

Prints, for each number of steps and form: seconds of the export and of its gates, nodes and size of the graph, and for
each engine on the CPU the seconds to open it, with a first image, and milliseconds an image, the best and the median.
The two forms take turns, run by run, so that what else the machine does meets both.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path

from ddgan_deploy import open_artifact
from ddgan_deploy.data import digits_checkpoint, digits_config
from ddgan_deploy.engines.base import Engine
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.export.loop_choice import LoopChoice
from ddgan_deploy.inputs import draw

FORMS: dict[str, LoopChoice] = {"copies": "never", "Loop": "always"}
ENGINES = ("onnxruntime-portable", "onnxruntime", "openvino-f32")


def exported(steps: int, form: str, folder: Path) -> dict[str, object]:
    """One export: its cost, and what it made."""
    config = folder / f"T{steps}.json"
    config.write_text(json.dumps({**json.loads(digits_config().read_text()), "num_timesteps": steps}))
    out = folder / f"T{steps}-{form}"
    options = ExportOptions(digits_checkpoint(), steps, config=config, out=out, engine="none", loop=FORMS[form])
    result = export(options)
    stops = dict(result.timings)
    return {
        "steps": steps,
        "form": form,
        "export_s": round(sum(stops.values()), 1),
        "gates_s": round(stops["Verify against PyTorch"], 1),
        "nodes": result.artifact.manifest.graphs["sampler.onnx"].nodes,
        "graph_kb": round((out / "sampler.onnx").stat().st_size / 1e3, 1),
    }


def timed(folders: dict[str, Path], name: str, threads: int | None, runs: int) -> dict[str, dict[str, float]]:
    """Form -> what an engine takes, at batch 1."""
    engines: dict[str, Engine] = {}
    found: dict[str, dict[str, float]] = {}
    for form, folder in folders.items():
        start = time.perf_counter()
        engines[form] = open_artifact(folder, name, threads)
        inputs = draw(engines[form].artifact.manifest.sampler, [0])
        engines[form].sample(inputs)
        found[form] = {"open_s": round(time.perf_counter() - start, 2)}
    times: dict[str, list[float]] = {form: [] for form in engines}
    for _ in range(runs):
        for form, engine in engines.items():
            start = time.perf_counter()
            engine.sample(inputs)
            times[form].append(1e3 * (time.perf_counter() - start))
    for form, each in times.items():
        engines[form].close()
        found[form] |= {"best_ms": round(min(each), 1), "median_ms": round(statistics.median(each), 1)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", nargs="+", type=int, default=[4, 64])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--runs", type=int, default=20)
    args = parser.parse_args()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for steps in args.steps:
            of_forms = {form: exported(steps, form, Path(folder)) for form in FORMS}
            folders = {form: Path(folder) / f"T{steps}-{form}" for form in FORMS}
            for row in of_forms.values():
                print(" | ".join(f"{key} {value}" for key, value in row.items()), flush=True)
            for name in ENGINES:
                for form, numbers in timed(folders, name, args.threads, args.runs).items():
                    of_forms[form][name] = numbers
                    told = " | ".join(f"{key} {value}" for key, value in numbers.items())
                    print(f"  T {steps} | {form} | {name} | {told}", flush=True)
            rows += of_forms.values()
    environment = {"cpu": platform.processor() or platform.machine(), "python": platform.python_version()}
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "environment": environment}, indent=2) + "\n")


if __name__ == "__main__":
    main()
