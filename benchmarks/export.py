"""Exports the published model sizes from random weights, without a config, each in a process of its own.

    python benchmarks/export.py [--json FILE] [--sizes cifar10 celebahq256] [--precisions fp32 fp16]

Prints, for each: wall time, peak memory, sizes of the graph and weight files,
nodes a step, and the parity that the export measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

SIZES = {
    "cifar10": {
        "title": "CIFAR-10 size, T = 4",
        "steps": 4,
        "config": {
            "image_size": 32, "num_channels": 3, "num_channels_dae": 128, "ch_mult": (1, 2, 2, 2),
            "num_res_blocks": 2, "nz": 100, "z_emb_dim": 256, "n_mlp": 4,
        },
    },
    "celebahq256": {
        "title": "CelebA-HQ 256 size, T = 2",
        "steps": 2,
        "config": {
            "image_size": 256, "num_channels": 3, "num_channels_dae": 64, "ch_mult": (1, 1, 2, 2, 4, 4),
            "num_res_blocks": 2, "nz": 100, "z_emb_dim": 256, "n_mlp": 3,
        },
    },
    # Of no published network: the bundled checkpoint's, small enough to try a script with.
    "digits": {
        "title": "Digits, T = 4",
        "steps": 4,
        "config": {
            "image_size": 16, "num_channels": 1, "num_channels_dae": 16, "ch_mult": (1, 2), "num_res_blocks": 1,
            "nz": 16, "z_emb_dim": 64, "n_mlp": 2,
        },
    },
}  # fmt: skip
PUBLISHED = ("cifar10", "celebahq256")


def random_checkpoint(size: str, path: Path) -> None:
    """Writes a checkpoint in the published form, with random weights of a trained network's scale."""
    import torch

    from ddgan_deploy.families.ddgan.config import GeneratorConfig
    from ddgan_deploy.families.ddgan.network import Generator

    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(**SIZES[size]["config"]))
    with torch.no_grad():
        for name, weight in generator.named_parameters():
            # Fresh networks have near-zero last layers, which would hide errors.
            if weight.dim() > 1:
                weight.copy_(torch.randn_like(weight) / weight[0].numel() ** 0.5)
            elif not name.endswith("style.bias"):
                weight.add_(0.1 * torch.randn_like(weight))
    torch.save({f"module.{key}": value for key, value in generator.state_dict().items()}, path)


def measure(size: str, precision: str, folder: Path) -> dict[str, object]:
    """One export: its cost, and what it made."""
    checkpoint, out = folder / f"{size}.pth", folder / f"{size}-{precision}"
    if not checkpoint.exists():
        random_checkpoint(size, checkpoint)
    command = [
        sys.executable, "-m", "ddgan_deploy.export.cli", "--ckpt", str(checkpoint),
        "--steps", str(SIZES[size]["steps"]), "--out", str(out), "--engine", "none",
    ]  # fmt: skip
    process = subprocess.Popen(command + ["--fp16"] * (precision == "fp16"), stdout=subprocess.DEVNULL)
    start = os.times().elapsed
    _, status, usage = os.wait4(process.pid, 0)
    seconds = os.times().elapsed - start
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    manifest = json.loads((out / "manifest.json").read_text())
    steps = manifest["steps"]
    files = {name: info["bytes"] for name, info in manifest["files"].items()}
    parameter_bytes = manifest["checkpoint"]["parameters"] * (2 if precision == "fp16" else 4)
    return {
        "size": size,
        "precision": precision,
        "steps": steps,
        "seconds": round(seconds, 1),
        "peak_gb": round(usage.ru_maxrss / 2**20, 2),
        "weights_mb": round(files["weights.bin"] / 1e6, 1),
        "folder_over_parameters": round(sum(files.values()) / parameter_bytes, 3),
        "nodes_per_step": round(manifest["graphs"]["sampler.onnx"]["nodes"] / steps, 1),
        "max_abs": max(probe["max_abs"] for probe in manifest["parity"]["probes"]),
        "min_psnr_db": round(min(probe["psnr"] for probe in manifest["parity"]["probes"]), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(PUBLISHED))
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "fp16"), default=["fp32", "fp16"])
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            for precision in args.precisions:
                rows.append(measure(size, precision, Path(folder)))
                print(" | ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    cores = len(os.sched_getaffinity(0))
    environment = {
        "cpu": platform.processor() or platform.machine(),
        "cores": cores,
        "python": platform.python_version(),
    }
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "environment": environment}, indent=2) + "\n")


if __name__ == "__main__":
    main()
