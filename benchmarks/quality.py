"""What precision does to the distribution: artifacts of the bundled digits in each, from the same seeds.

    python benchmarks/quality.py [--seeds 2000] [--json FILE]

Exports all three, draws the same seeds from each by its served graph, and judges the
images against real digits (`ddgan_deploy.quality`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np

from ddgan_deploy import open_artifact
from ddgan_deploy.data import DIGITS_STEPS, digits_checkpoint, split_digits
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.quality import Quality, judge
from ddgan_deploy.sampler import Precision

BATCH = 100


def served_images(precision: Precision, seeds: int, folder: Path) -> np.ndarray:
    """Images of seeds 0 to N-1 from a fresh artifact, uint8 [N, H, W, C]."""
    options = ExportOptions(
        digits_checkpoint(),
        DIGITS_STEPS,
        fp16=precision == "fp16",
        int8=precision == "int8",
        out=folder / precision,
        engine="none",
    )
    engine = open_artifact(export(options).artifact.path, "onnxruntime-portable")
    return np.concatenate([engine.generate(range(i, min(i + BATCH, seeds))) for i in range(0, seeds, BATCH)])


def figures(quality: Quality) -> dict[str, float]:
    """The figures that the README quotes."""
    return {
        "smallest class share": min(quality.shares),
        "largest class share": max(quality.shares),
        "entropy": quality.entropy,
        "mean confidence": quality.confidence,
        "precision": quality.precision,
        "recall": quality.recall,
        "Fréchet distance": quality.frechet,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Quality of fp32, fp16 and int8 artifacts from the same seeds.")
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    train, test = split_digits()
    rows = {"real test digits": figures(judge(test.images, train.images))}
    with tempfile.TemporaryDirectory() as folder:
        for precision in get_args(Precision):
            rows[precision] = figures(judge(served_images(precision, args.seeds, Path(folder)), train.images))
    for precision in ("fp16", "int8"):
        rows[f"{precision} / fp32"] = {key: rows[precision][key] / value for key, value in rows["fp32"].items()}
    print("| | " + " | ".join(rows) + " |\n|---|" + "---:|" * len(rows))
    for key in rows["fp32"]:
        print(f"| {key} | " + " | ".join(f"{row[key]:.4f}" for row in rows.values()) + " |")
    if args.json:
        args.json.write_text(json.dumps({"seeds": args.seeds, "rows": rows}, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
