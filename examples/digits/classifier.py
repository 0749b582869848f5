"""Train the judge: a small classifier of real digits, whose features `ddgan_deploy.quality` uses.

    python examples/digits/classifier.py --out digits_classifier.safetensors

It learns from the training quarter-split with small shifts and turns, so that its
features say something about images that it has not seen.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from ddgan_deploy.data import Digits, split_digits
from ddgan_deploy.quality import build_classifier

BATCH = 64
SHIFT, TURN, ZOOM = 1.5, math.radians(12), 0.1
"""Largest augmentation: pixels, radians, and part of the size."""


def tensors(digits: Digits) -> tuple[torch.Tensor, torch.Tensor]:
    """Images float32 [N, 1, 16, 16] in [-1, 1], and labels [N]."""
    images = torch.from_numpy(digits.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images, torch.from_numpy(digits.labels)


def augmented(images: torch.Tensor) -> torch.Tensor:
    """Each image turned, zoomed and shifted a little at random."""
    n, _, size, _ = images.shape
    angle = (torch.rand(n) * 2 - 1) * TURN
    zoom = 1 + (torch.rand(n) * 2 - 1) * ZOOM
    shift = (torch.rand(n, 2, 1) * 2 - 1) * SHIFT * 2 / size
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    rotation = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    where = F.affine_grid(torch.cat([rotation, shift], 2), list(images.shape), align_corners=False)
    # Shifted up by one, the padding's zero is the paper's black.
    return F.grid_sample(images + 1, where, align_corners=False) - 1


def train(epochs: int, seed: int) -> tuple[nn.Sequential, float]:
    """The classifier and its accuracy on the held-out quarter."""
    torch.manual_seed(seed)
    (images, labels), (test_images, test_labels) = (tensors(part) for part in split_digits())
    model = build_classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    steps = epochs * math.ceil(len(images) / BATCH)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(BATCH):
            loss = F.cross_entropy(model(augmented(images[batch])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    with torch.inference_mode():
        accuracy = (model(test_images).argmax(1) == test_labels).double().mean().item()
    return model, accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the classifier that judges digits.")
    parser.add_argument("--out", type=Path, required=True, help="a .safetensors file")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model, accuracy = train(options.epochs, options.seed)
    save_file(model.state_dict(), options.out)
    print(f"held-out accuracy {accuracy:.2%}, {sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    main()
