"""ADM at published sizes with random weights: what an export takes, and a step as published and on every engine.

    python benchmarks/adm.py export [--network 64x64_diffusion] [--steps 25] [--plain] [--fp16] [--folder DIR]
    python benchmarks/adm.py steps [--network 64x64_diffusion] [--runs 5] [--engines a,b] [--fp16] [--no-compile]
    python benchmarks/adm.py image [--steps 25], else as steps

`export` runs `ddgan-export` in a process of its own, with `--sampler ddim` and the classifier of that size unless
`--plain`. `steps` exports two DDIM steps, which are alike; `image` all of an image. The published code
is stated here over the published weights, its gradient by autograd; its checkpoints recompute attention in backward,
which is left out. Engines take turns, so that they meet the same machine. `--json FILE` keeps the figures.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ddgan_deploy.engines import open_artifact
from ddgan_deploy.families.adm.config import AdmConfig, AdmSampling, ClassifierConfig
from ddgan_deploy.families.adm.keys import CLASSIFIER
from ddgan_deploy.families.adm.layout import Block, Layer, down_blocks, middle_block, up_blocks
from ddgan_deploy.families.adm.published import PUBLISHED
from ddgan_deploy.families.adm.reference import stepped, untrained
from ddgan_deploy.families.adm.schedule import process
from ddgan_deploy.inputs import draw, examples
from ddgan_deploy.processor import cpu_model

sys.path.insert(0, str(Path(__file__).parent))
from turns import BASELINE, Runs, take_turns

Weights = Mapping[str, torch.Tensor]
NAMES = tuple(each.name for each in PUBLISHED)
CLASSIFIER_DEPTH = {64: 4, 128: 2, 256: 2, 512: 2}
ENGINES = ("onnxruntime-portable", "openvino-f32", "onnxruntime", "onnxruntime-bf16")


def config(name: str, classes: int, guided: bool) -> tuple[AdmConfig, dict[str, Any]]:
    """A published network, and what the published README says of how it was trained."""
    found = next(each for each in PUBLISHED if each.name == name)
    known = {key: value for key, value in found.known.items() if key != "noise_schedule"}
    model = AdmConfig(**vars(found.told), **known, num_classes=classes)
    if not guided:
        return model, {"noise_schedule": found.known["noise_schedule"]}
    told = vars(found.told) | {"num_channels": 128, "num_res_blocks": CLASSIFIER_DEPTH[model.image_size]}
    classifier = ClassifierConfig(**told, image_size=model.image_size, pool="attention", num_classes=1000)
    return AdmConfig(**vars(model) | {"classifier": classifier}), {"noise_schedule": found.known["noise_schedule"]}


@dataclass(frozen=True)
class Published:
    """The two networks as published, in float32."""

    weights: Weights

    def unet(self, model: AdmConfig, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        """[N, 6, H, W]."""
        emb = self._time(model.num_channels, t)
        if label is not None and model.num_classes:
            emb = emb + self.weights["label_emb.weight"][label]
        features = self._down(model, x, emb)
        h = features.pop()
        for block in up_blocks(model):
            h = self._block(block, torch.cat([h, features.pop()], 1), emb, model.use_new_attention_order)
        return self._conv("out.2", F.silu(self._norm("out.0", h)), 1)

    def logits(self, model: ClassifierConfig, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """[N, classes], by the attention pool."""
        h = self._down(model, x, self._time(model.num_channels, t))[-1]
        h = F.silu(self._norm("out.0", h)).flatten(2)
        h = torch.cat([h.mean(2, keepdim=True), h], 2) + self.weights["out.2.positional_embedding"]
        h = _attended(self._conv1d("out.2.qkv_proj", h), model.heads(h.shape[1]), True)
        return self._conv1d("out.2.c_proj", h)[:, :, 0]

    def _down(self, model: AdmConfig | ClassifierConfig, x: torch.Tensor, emb: torch.Tensor) -> list[torch.Tensor]:
        """What every input block gives, and the middle."""
        newer = isinstance(model, AdmConfig) and model.use_new_attention_order
        found = []
        for block in (*down_blocks(model), middle_block(model)):
            x = self._block(block, x, emb, newer)
            found.append(x)
        return found

    def _block(self, block: Block, x: torch.Tensor, emb: torch.Tensor, newer: bool) -> torch.Tensor:
        for layer in block.layers:
            if layer.kind == "conv":
                x = self._conv(layer.name, x, 1)
            elif layer.kind == "res":
                x = self._residual(layer, x, emb)
            else:
                pixels = x.flatten(2)
                h = _attended(
                    self._conv1d(f"{layer.name}.qkv", self._norm(f"{layer.name}.norm", pixels)), layer.heads, newer
                )
                x = (pixels + self._conv1d(f"{layer.name}.proj_out", h)).reshape(x.shape)
        return x

    def _residual(self, layer: Layer, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        resampled = {"down": lambda v: F.avg_pool2d(v, 2), "up": lambda v: F.interpolate(v, scale_factor=2)}.get(
            layer.resampling, lambda v: v
        )
        h = self._conv(f"{layer.name}.in_layers.2", resampled(F.silu(self._norm(f"{layer.name}.in_layers.0", x))), 1)
        scale, shift = self._linear(f"{layer.name}.emb_layers.1", F.silu(emb))[:, :, None, None].chunk(2, 1)
        h = self._norm(f"{layer.name}.out_layers.0", h) * (1 + scale) + shift
        x, h = resampled(x), self._conv(f"{layer.name}.out_layers.3", F.silu(h), 1)
        return (x if layer.inputs == layer.outputs else self._conv(f"{layer.name}.skip_connection", x)) + h

    def _time(self, width: int, t: torch.Tensor) -> torch.Tensor:
        half = width // 2
        angles = t[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / half)
        waves = torch.cat([angles.cos(), angles.sin()], 1)
        return self._linear("time_embed.2", F.silu(self._linear("time_embed.0", waves)))

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.group_norm(x, 32, *self._pair(name))

    def _conv(self, name: str, x: torch.Tensor, padding: int = 0) -> torch.Tensor:
        return F.conv2d(x, *self._pair(name), padding=padding)

    def _conv1d(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.conv1d(x, *self._pair(name))

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, *self._pair(name))

    def _pair(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]


def _attended(qkv: torch.Tensor, heads: int, newer: bool) -> torch.Tensor:
    """By products over all heads at once, the softmax in float32."""
    count, width, length = qkv.shape
    size = width // (3 * heads)
    if newer:
        q, k, v = (part.reshape(count * heads, size, length) for part in qkv.chunk(3, 1))
    else:
        q, k, v = qkv.reshape(count * heads, 3 * size, length).split(size, 1)
    scale = size**-0.25
    weight = torch.einsum("bct,bcs->bts", q * scale, k * scale).softmax(-1)
    return torch.einsum("bts,bcs->bct", weight, v).reshape(count, -1, length)


def write(folder: Path, name: str, classes: int, guided: bool) -> tuple[AdmConfig, Weights, list[str]]:
    """Random weights as published files, and the arguments that export them."""
    model, told = config(name, classes, guided)
    weights = untrained(model)
    own = {key: value for key, value in weights.items() if not key.startswith(CLASSIFIER)}
    others = {key.removeprefix(CLASSIFIER): value for key, value in weights.items() if key not in own}
    path, settings = folder / f"{name.split()[0]}.pt", folder / "args.json"
    torch.save(own, path)
    settings.write_text(json.dumps(told | {"use_ddim": True}))
    line = ["--ckpt", str(path), "--config", str(settings), "--sampler", "ddim", "--engine", "none"]
    if guided:
        torch.save(others, folder / "classifier.pt")
        line += ["--classifier", str(folder / "classifier.pt"), "--guidance", "1"]
    return model, weights, line


def export(line: list[str], out: Path) -> dict[str, Any]:
    """One export in a process of its own: seconds, and the most memory."""
    command = [sys.executable, "-m", "ddgan_deploy.export.cli", *line, "--out", str(out)]
    start = time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(running.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return {"seconds": round(seconds, 1), "peak_gb": round(usage.ru_maxrss / 2**20, 2)}


def exported(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What an export takes, and what it makes."""
    _, weights, line = write(folder, args.network, args.classes, not args.plain)
    precision = ["--fp16"] if args.fp16 else []
    row = {"network": args.network, "guided": not args.plain, "precision": "fp16" if args.fp16 else "fp32"}
    row |= export([*line, *precision, "--steps", str(args.steps)], folder / "made")
    manifest = json.loads((folder / "made" / "manifest.json").read_text())
    files = {name: info["bytes"] for name, info in manifest["files"].items()}
    stored = (2 if args.fp16 else 4) * sum(weight.numel() for weight in weights.values())
    gates = manifest["parity"]["gates"]
    absolute = [gate["measured"] / gate["limit"] for gate in gates if gate["unit"] == "max abs"]
    return row | {
        "steps": manifest["steps"],
        "loop": manifest["looped"],
        "nodes": manifest["graphs"]["sampler.onnx"]["nodes"],
        "tflop_an_image": round(manifest["gflops"] / 1000, 2),
        "weights_mb": round(files["weights.bin"] / 1e6, 1),
        "files_over_weights": round(sum(files.values()) / stored, 3),
        "gates": len(gates),
        "worst_of_its_limit": round(max(absolute, default=0), 3),
    }


def runs_of(args: argparse.Namespace, folder: Path, count: int) -> Runs:
    """What takes turns: name -> one image in so many steps."""
    model, weights, line = write(folder, args.network, args.classes, not args.plain)
    sampling = AdmSampling(
        count, "ddim", f"ddim{count}", noise_schedule=config(args.network, args.classes, False)[1]["noise_schedule"]
    )
    found: dict[str, Callable[[], Any]] = {}
    artifacts = {}
    for precision in ("fp32", *(["fp16"] if args.fp16 else [])):
        artifacts[precision] = folder / precision
        flags = ["--no-verify", "--steps", str(count), *(["--fp16"] if precision == "fp16" else [])]
        print(precision, export([*line, *flags], artifacts[precision]), file=sys.stderr)
    with open_artifact(artifacts["fp32"], "onnxruntime-portable", args.threads) as engine:
        sampler = engine.artifact.manifest.sampler
        inputs = draw(sampler, [0], examples(sampler.knobs, [0]))
    tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
    for title, wrapped in (
        ("pytorch-eager", _as_it_is),
        *(() if args.no_compile else (("pytorch-compile", torch.compile),)),
    ):
        found[f"{title}, as published"] = _published(model, weights, sampling, tensors, wrapped)
    for precision, artifact in artifacts.items():
        for name in args.engines:
            opened = open_artifact(artifact, name, args.threads)
            found[f"{name} {precision}"] = lambda opened=opened: opened.sample(inputs)
    return found


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _published(
    model: AdmConfig, weights: Weights, sampling: AdmSampling, tensors: Weights, wrapped: Callable[..., Any]
) -> Callable[[], torch.Tensor]:
    """Steps of the published code; ``wrapped`` compiles what it calls."""
    unet = Published({name: value for name, value in weights.items() if not name.startswith(CLASSIFIER)})
    guide = Published(
        {name.removeprefix(CLASSIFIER): value for name, value in weights.items() if name.startswith(CLASSIFIER)}
    )
    denoise, logits = wrapped(unet.unet), wrapped(guide.logits)

    def run() -> torch.Tensor:
        x = tensors["x_T"]
        label = tensors["label"][:, 0] if "label" in tensors else None
        for kept in process(sampling):
            t, push = torch.full((len(x),), float(kept.time)), None
            with torch.no_grad():
                out = denoise(model, x, t, label)
            if model.classifier is not None:
                with torch.enable_grad():
                    at = x.detach().requires_grad_()
                    chosen = logits(model.classifier, at, t).log_softmax(-1).gather(1, label[:, None])
                    push = tensors["guidance"][:, :, None, None] * torch.autograd.grad(chosen.sum(), at)[0]
            x = stepped(sampling, kept, x, out[:, :3], None, push, None)
        return x

    return run


def timed(args: argparse.Namespace, folder: Path, count: int) -> list[dict[str, Any]]:
    """A row an engine, of one image in so many steps."""
    print(f"{args.network}, {count} steps, {args.threads} threads of {cpu_model()}\n")
    print("| engine | s | s a step | × as published |\n| --- | ---: | ---: | ---: |")
    seconds, rows = take_turns(runs_of(args, folder, count), args.runs, 1e-3, 5e-2), []
    base = statistics.median(seconds[BASELINE])
    for engine, times in seconds.items():
        median = statistics.median(times)
        rows.append({"engine": engine, "image_s": median, "step_s": median / count, "speedup": base / median})
        print(f"| {engine} | {median:.2f} | {median / count:.2f} | {base / median:.2f} |", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("export", "steps", "image"))
    parser.add_argument("--network", choices=NAMES, default=NAMES[0])
    parser.add_argument("--classes", type=int, default=1000, help="of the UNet, or 0")
    parser.add_argument("--plain", action="store_true", help="without a classifier")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engines", type=lambda text: tuple(text.split(",")), default=ENGINES)
    parser.add_argument("--fp16", action="store_true")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--folder", type=Path, help="for the files, which are kept")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if args.what == "export":
            rows = [exported(args, folder)]
            print(" | ".join(f"{key} {value}" for key, value in rows[0].items()))
        else:
            rows = timed(args, folder, args.steps if args.what == "image" else 2)
    if args.json:
        args.json.write_text(json.dumps({"network": args.network, "cpu": cpu_model(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
