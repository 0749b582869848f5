"""The pictures of the README, from the bundled checkpoint and the log of its training.

python examples/digits/figures.py --out docs/images
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from data import training_images
from generate import generate
from losses import Diffusion

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.data import digits_checkpoint
from ddgan_deploy.families.ddgan.family import FAMILY
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.reference import reference
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.images import grid, save_png, to_pixels
from ddgan_deploy.inputs import draw
from ddgan_deploy.parity.verify import reference_values
from ddgan_deploy.plots import COLOURS, spread

matplotlib.use("agg")
import matplotlib.pyplot as plt

STEPS = 4
INK, GRID_INK = "#1f2933", "#d5dae0"
LINES = ("-", "--", "-.", ":")
"""By t, as the colours, so that none is told by its colour alone."""
Pixels = npt.NDArray[np.uint8]


def draw_grid(generator: Generator, path: Path) -> None:
    """Seeds 0 to 63."""
    save_png(grid(generate(generator, Schedule(STEPS), range(64)), columns=8, scale=4), path)


def draw_steps(generator: Generator, path: Path, seeds: Sequence[int] = range(8)) -> None:
    """One seed a column, from the noise x_4 at the top to the image x_0: the state after each step."""
    schedule = Schedule(STEPS)
    inputs = draw(FAMILY.sampler(generator.config, schedule), seeds)
    # Of each step x_0 and the state after it.
    values = reference_values(reference(generator, schedule), inputs)
    states = np.stack([to_pixels(x) for x in (inputs["x_T"], *values[1::2])])
    columns = [states[:, n] for n in range(len(seeds))]
    _table(path, columns, [f"seed {seed}" for seed in seeds], [f"$x_{t}$" for t in reversed(range(STEPS + 1))])


def draw_multimodal(generator: Generator, path: Path, digits: tuple[int, ...], samples: int = 9) -> None:
    """Real digits, each noised once to x_1, and what many z make of that one x_1."""
    torch.manual_seed(0)
    x_0 = training_images()[list(digits)]
    t = torch.zeros(len(x_0), dtype=torch.int64)
    x_1 = Diffusion(Schedule(STEPS)).pair(x_0, t).x_next
    columns = [to_pixels(x_0.numpy()), to_pixels(x_1.numpy())]
    with torch.inference_mode():
        for _ in range(samples):
            z = torch.randn(1, generator.config.nz).expand(len(x_0), -1)
            columns.append(to_pixels(generator(x_1, t, z).numpy()))
    _table(path, columns, titles=["real $x_0$", "$x_1$", *(f"$z_{{{n + 1}}}$" for n in range(samples))])


def _table(path: Path, columns: Sequence[Pixels], titles: Sequence[str], names: Sequence[str] = ()) -> None:
    """Columns of images, uint8 [N, H, W, 1] each, under their titles, with the rows' names before them."""
    rows, cell, top, left = len(columns[0]), 0.8, 0.3, 0.4 if names else 0.05
    width, height = left + cell * len(columns), top + cell * rows
    figure, axes = plt.subplots(rows, len(columns), figsize=(width, height), squeeze=False)
    for column, images in enumerate(columns):
        for row, image in enumerate(images):
            axis = axes[row, column]
            axis.imshow(image[:, :, 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        axes[0, column].set_title(titles[column], fontsize=9, color=INK, pad=3)
    for row, name in enumerate(names):
        axes[row, 0].set_ylabel(name, fontsize=10, color=INK, rotation=0, ha="right", va="center")
    figure.subplots_adjust(left / width, 0.05 / height, 1 - 0.05 / width, 1 - top / height, 0.06, 0.06)
    _save(figure, path)


def draw_losses(log: Path, path: Path) -> None:
    """Losses of discriminator and generator by t over the steps of a training run."""
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharex=True)
    for axis, side, name in zip(axes, "dg", ("Discriminator", "Generator"), strict=True):
        curves = [_smooth(np.array([float(row[f"{side}_loss_t{t}"]) for row in rows])) for t in range(STEPS)]
        for t, values in enumerate(curves):
            axis.plot(steps, values, color=COLOURS[t], linestyle=LINES[t], linewidth=1.4)
        ends = [float(values[-1]) for values in curves]
        low, high = axis.get_ylim()
        for t, (end, place) in enumerate(zip(ends, spread(ends, (high - low) / 14), strict=True)):
            axis.annotate(
                f"t = {t}", (steps[-1], end), (steps[-1] * 1.03, place), fontsize=9, color=COLOURS[t], va="center"
            )
        axis.set_title(f"{name} loss by t", fontsize=10, color=INK)
        axis.set_xlabel("training step", fontsize=9, color=INK)
        axis.grid(color=GRID_INK, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8, colors=INK)
    figure.tight_layout()
    _save(figure, path)


def _smooth(values: npt.NDArray[np.float64], width: int = 5) -> npt.NDArray[np.float64]:
    """Running mean, over fewer values at the ends."""
    ones = np.ones(width)
    return np.convolve(values, ones, "same") / np.convolve(np.ones_like(values), ones, "same")


def _save(figure: plt.Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, facecolor="white", metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the README's pictures.")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--checkpoint", type=Path, default=digits_checkpoint())
    parser.add_argument("--losses", type=Path, default=Path(__file__).with_name("losses.csv"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    generator = load_checkpoint(options.checkpoint).generator()
    draw_grid(generator, options.out / "digits_grid.png")
    draw_steps(generator, options.out / "digits_steps.png")
    draw_multimodal(generator, options.out / "digits_multimodal.png", digits=(2, 8, 3, 9, 5))
    draw_losses(options.losses, options.out / "digits_losses.png")


if __name__ == "__main__":
    main()
