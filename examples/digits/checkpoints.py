"""The two forms of published checkpoints, and what else a run leaves behind."""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from generate import generate
from training import Trainer

from ddgan_deploy.images import grid, save_png

GRID_SEEDS = 100


def save_training_state(trainer: Trainer, epoch: int, folder: Path) -> Path:
    """``content.pth``: all that resuming needs, with the options beside it."""
    content = {"epoch": epoch, "args": trainer.args, **trainer.state_dicts()}
    return _replace(folder / "content.pth", lambda file: torch.save(content, file))


def load_training_state(path: Path) -> dict[str, Any]:
    """Read ``content.pth``; nothing but tensors, plain data and one Namespace is unpickled."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def save_generator(trainer: Trainer, epoch: int, folder: Path) -> Path:
    """``netG_<epoch>.pth``: the averaged weights alone."""
    weights = {f"module.{name}": value for name, value in trainer.ema_weights().items()}
    return _replace(folder / f"netG_{epoch}.pth", lambda file: torch.save(weights, file))


def save_grid(trainer: Trainer, folder: Path) -> Path:
    """``sample_<step>.png``: the same hundred seeds each time, drawn with the averaged weights."""
    path = folder / f"sample_{trainer.global_step:06d}.png"
    images = generate(trainer.ema_generator(), trainer.schedule, range(GRID_SEEDS))
    save_png(grid(images, scale=2), path)
    return path


class LossLog:
    """``losses.csv``: mean losses by t over the steps since the row before."""

    def __init__(self, folder: Path, steps: int, resume_at: int) -> None:
        self.path = folder / "losses.csv"
        self.header = ["step", "r1", *(f"{side}_loss_t{t}" for side in "dg" for t in range(steps))]
        kept: list[list[str]] = []
        if resume_at and self.path.exists():
            with self.path.open(newline="") as file:
                kept = [row for row in list(csv.reader(file))[1:] if int(row[0]) <= resume_at]
        with self.path.open("w", newline="") as file:
            csv.writer(file).writerows([self.header, *kept])

    def add(self, step: int, r1: float, d_losses: torch.Tensor, g_losses: torch.Tensor) -> None:
        """One row; losses are float [T]."""
        with self.path.open("a", newline="") as file:
            values = [r1, *d_losses.tolist(), *g_losses.tolist()]
            csv.writer(file).writerow([step, *(f"{value:.4f}" for value in values)])


def _replace(path: Path, write: Callable[[Path], None]) -> Path:
    """Write a file whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    write(partial)
    os.replace(partial, path)
    return path
