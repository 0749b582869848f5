"""StyleGAN2 at published sizes with random weights: PyTorch as published, compiled, and every engine, in one run.

    python benchmarks/stylegan2.py [--size 256] [--batch 1,8] [--runs 7] [--engines a,b] [--fp16] [--json FILE]

The published code modulates the weights of each sample and convolves all samples as the groups of one convolution; that
is stated here. The reference, which the gates compare with, is our statement of the same. Engines take turns, so that
they meet the same machine.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from math import sqrt
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ddgan_deploy.engines import open_artifact
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.families.stylegan2.config import Sampling, StyleGan2Config, blocks
from ddgan_deploy.families.stylegan2.reference import reference, untrained
from ddgan_deploy.inputs import draw
from ddgan_deploy.processor import cpu_model

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.ddgan_deploy.families.stylegan2.published import Made, tree, write

sys.path.insert(0, str(Path(__file__).parent))
from turns import BASELINE, take_turns

SIZES = {
    # Widths of features as published: min(base / size, 512).
    32: {"channel_base": 32768, "layers": 2},
    256: {"channel_base": 16384, "layers": 8},
    1024: {"channel_base": 32768, "layers": 8},
}
SLOPE = 0.2
ENGINES = ("onnxruntime-portable", "openvino-f32", "onnxruntime", "onnxruntime-bf16")


def config(size: int) -> StyleGan2Config:
    """Of the published training configuration for that size."""
    sizes = [4 << i for i in range(size.bit_length() - 2)]
    return StyleGan2Config(
        z_dim=512,
        w_dim=512,
        c_dim=0,
        image_size=size,
        num_channels=3,
        channels=tuple(min(SIZES[size]["channel_base"] // each, 512) for each in sizes),
        mapping_widths=(512,) * SIZES[size]["layers"],
        embed_width=0,
        lr_multiplier=0.01,
        conv_clamp=256.0,
        float16_from=max(size >> 3, 8),
    )


class Published(nn.Module):
    """The generator as its published code runs it in float32: fused modulation, skip architecture."""

    def __init__(self, model: StyleGan2Config, weights: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.model = model
        for name, value in weights.items():
            self.register_buffer(name.replace(".", "_"), value)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        model = self.model
        w = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for i in range(len(model.mapping_widths)):
            gain = model.lr_multiplier / sqrt(w.shape[1])
            bias = self._of(f"mapping.fc{i}.bias") * model.lr_multiplier
            w = _act(torch.addmm(bias[None], w, (self._of(f"mapping.fc{i}.weight") * gain).t()))
        image: torch.Tensor | None = None
        x = torch.empty(0)
        for block in blocks(model):
            if not block.inputs:
                x = self._of(f"synthesis.{block.name}.const")[None].repeat(len(z), 1, 1, 1)
            for layer in block.layers:
                path = f"synthesis.{layer.name}"
                style = torch.addmm(
                    self._of(f"{path}.affine.bias")[None],
                    w,
                    (self._of(f"{path}.affine.weight") / sqrt(model.w_dim)).t(),
                )
                weight, bias = self._of(f"{path}.weight"), self._of(f"{path}.bias").reshape(1, -1, 1, 1)
                if layer.is_rgb:
                    here = (_modulated(x, weight, style / sqrt(layer.inputs), None, False) + bias).clamp(-256, 256)
                    if image is None:
                        image = here
                    else:
                        image = _filtered(_spread(image), self._of(f"synthesis.{block.name}.resample_filter"), 2, 1)
                        image = image + here
                    continue
                taps = self._of(f"{path}.resample_filter") if layer.up else None
                x = _modulated(x, weight, style, taps, True)
                x = x + self._of(f"{path}.noise_const") * self._of(f"{path}.noise_strength")
                x = _act(x + bias).clamp(-256, 256)
        assert image is not None
        return image

    def _of(self, name: str) -> torch.Tensor:
        value: torch.Tensor = getattr(self, name.replace(".", "_"))
        return value


def _act(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, SLOPE) * sqrt(2)


def _modulated(
    x: torch.Tensor, weight: torch.Tensor, style: torch.Tensor, taps: torch.Tensor | None, demodulate: bool
) -> torch.Tensor:
    count, inputs, height, width = x.shape
    own = weight[None] * style.reshape(count, 1, -1, 1, 1)
    if demodulate:
        own = own * (own.square().sum((2, 3, 4)) + 1e-8).rsqrt().reshape(count, -1, 1, 1, 1)
    outputs, kernel = weight.shape[0], weight.shape[2]
    x = x.reshape(1, count * inputs, height, width)
    if taps is None:
        x = F.conv2d(x, own.reshape(-1, inputs, kernel, kernel), padding=kernel // 2, groups=count)
        return x.reshape(count, outputs, height, width)
    own = own.transpose(1, 2).reshape(count * inputs, outputs, kernel, kernel)
    x = F.conv_transpose2d(x, own, stride=2, groups=count)
    x = x.reshape(count, outputs, *x.shape[2:])
    return _filtered(x, taps, 1, 1)


def _spread(x: torch.Tensor) -> torch.Tensor:
    count, channels, height, width = x.shape
    x = F.pad(x.reshape(count, channels, height, 1, width, 1), [0, 1, 0, 0, 0, 1])
    return x.reshape(count, channels, 2 * height, 2 * width)


def _filtered(x: torch.Tensor, taps: torch.Tensor, before: int, after: int) -> torch.Tensor:
    x = F.pad(x, (before, after, before, after))
    return F.conv2d(x, (taps.flip(0, 1) * 4).repeat(x.shape[1], 1, 1, 1), groups=x.shape[1])


def runs_of(model: StyleGan2Config, folder: Path, args: argparse.Namespace, batch: int) -> dict[str, Callable[[], Any]]:
    """What takes turns: name -> one run of a batch."""
    weights = untrained(model)
    sampler = reference(model, weights, Sampling())
    published = Published(model, weights).eval()
    compiled = torch.compile(published, dynamic=False)
    found: dict[str, Callable[[], Any]] = {}
    artifact = folder / "fp32"
    with open_artifact(artifact, "onnxruntime-portable", args.threads) as engine:
        inputs = draw(engine.artifact.manifest.sampler, range(batch))
    tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
    z = tensors["z"][:, 0]
    found[BASELINE] = lambda: published(z)
    if not args.no_compile:
        found["pytorch-compile, as published"] = lambda: compiled(z)
    found["pytorch-eager, our statement"] = lambda: list(sampler.run(tensors))[-1]
    for precision in ("fp32", *(["fp16"] if args.fp16 else [])):
        for name in args.engines:
            opened = open_artifact(folder / precision, name, args.threads)
            found[f"{name} {precision}"] = lambda opened=opened: opened.sample(inputs)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, choices=SIZES, default=256)
    parser.add_argument("--batch", type=lambda text: tuple(map(int, text.split(","))), default=(1, 8))
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engines", type=lambda text: tuple(text.split(",")), default=ENGINES)
    parser.add_argument("--fp16", action="store_true")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, rows = config(args.size), []
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        it = Made(
            512, 512, 0, args.size, 3, model.channels, model.mapping_widths, clamp=256.0,
            half_from=model.float16_from, weights=dict(untrained(model)),
        )  # fmt: skip
        snapshot = write(folder / "snapshot.pkl", {"G_ema": tree(it)}, pickle.HIGHEST_PROTOCOL)
        for precision in ("fp32", *(["fp16"] if args.fp16 else [])):
            with torch.inference_mode(False):
                options = ExportOptions(
                    snapshot, out=folder / precision, engine="none", fp16=precision == "fp16", verify=False
                )
                export(options)
        print(f"StyleGAN2 {args.size}x{args.size}, {args.threads} threads of {cpu_model()}\n")
        print("| engine | batch | median ms | images/s | × as published |\n| --- | ---: | ---: | ---: | ---: |")
        for batch in args.batch:
            seconds = take_turns(runs_of(model, folder, args, batch), args.runs, 1e-4, 1e-2)
            base = statistics.median(seconds[BASELINE])
            for engine, times in seconds.items():
                median = statistics.median(times)
                rows.append({"engine": engine, "batch": batch, "median_ms": 1e3 * median, "speedup": base / median})
                line = f"| {engine} | {batch} | {1e3 * median:.0f} | {batch / median:.2f} | {base / median:.2f} |"
                print(line, flush=True)
    if args.json:
        args.json.write_text(json.dumps({"size": args.size, "cpu": cpu_model(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
