"""What precision does to the distribution: fp32 and fp16 artifacts of the bundled digits, from the same seeds.

    python benchmarks/quality.py [--seeds 2000] [--json FILE]

Exports both, draws the same seeds from each by its served graph, and judges the
images against real digits (`ddgan_deploy.quality`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from ddgan_deploy import open_artifact
from ddgan_deploy.data import DIGITS_STEPS, digits_checkpoint, split_digits
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.quality import Quality, judge

BATCH = 100


def served_images(fp16: bool, seeds: int, folder: Path) -> np.ndarray:
    """Images of seeds 0 to N-1 from a fresh artifact, uint8 [N, H, W, C]."""
    out = folder / ("fp16" if fp16 else "fp32")
    options = ExportOptions(digits_checkpoint(), DIGITS_STEPS, fp16=fp16, out=out, engine="none")
    engine = open_artifact(export(options).artifact.path)
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
    parser = argparse.ArgumentParser(description="Quality of fp32 and fp16 artifacts from the same seeds.")
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    train, test = split_digits()
    rows = {"real test digits": figures(judge(test.images, train.images))}
    with tempfile.TemporaryDirectory() as folder:
        for name, fp16 in (("fp32", False), ("fp16", True)):
            rows[name] = figures(judge(served_images(fp16, args.seeds, Path(folder)), train.images))
    rows["fp16 / fp32"] = {key: rows["fp16"][key] / value for key, value in rows["fp32"].items()}
    print("| | " + " | ".join(rows) + " |\n|---|" + "---:|" * len(rows))
    for key in rows["fp32"]:
        print(f"| {key} | " + " | ".join(f"{row[key]:.4f}" for row in rows.values()) + " |")
    if args.json:
        args.json.write_text(json.dumps({"seeds": args.seeds, "rows": rows}, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
