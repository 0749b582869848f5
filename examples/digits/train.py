"""Train a small DDGAN on real handwritten digits.

python examples/digits/train.py --out runs/digits
python examples/digits/train.py --out runs/digits --resume
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from checkpoints import (
    LossLog,
    load_training_state,
    save_generator,
    save_grid,
    save_training_state,
)
from data import Batches, training_images
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from training import StepLosses, Trainer

LOG_EVERY = 100
FIXED = {
    "dataset": "digits",
    "image_size": 16,
    "num_channels": 1,
    "centered": True,
    "attn_resolutions": (16,),
    "dropout": 0.0,
    "resamp_with_conv": True,
    "conditional": True,
    "fir": True,
    "fir_kernel": [1, 3, 3, 1],
    "skip_rescale": True,
    "resblock_type": "biggan",
    "progressive": "none",
    "progressive_input": "residual",
    "progressive_combine": "sum",
    "embedding_type": "positional",
    "fourier_scale": 16.0,
    "not_use_tanh": False,
    "num_timesteps": 4,
    "use_geometric": False,
    "beta_min": 0.1,
    "beta_max": 20.0,
    "beta1": 0.5,
    "beta2": 0.9,
    "no_lr_decay": False,
    "use_ema": True,
}
"""What this example never varies, under the names of the published training script."""

NETWORK = ("num_channels_dae", "ch_mult", "num_res_blocks", "nz", "z_emb_dim", "n_mlp", "ngf", "t_emb_dim")
"""Options that a resumed run cannot change."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options, under the names of the published training script."""
    parser = argparse.ArgumentParser(
        description="Train a small DDGAN on real handwritten digits.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from OUT/content.pth")
    parser.add_argument("--iterations", type=int, default=9_000, help="steps until the decay ends")
    parser.add_argument("--hours", type=float, default=float("inf"), help="stop after so long; resumable")
    parser.add_argument("--save-every", type=int, default=500, help="steps between checkpoints and grids")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr-g", type=float, default=2e-4)
    parser.add_argument("--lr-d", type=float, default=5e-4)
    parser.add_argument("--r1-gamma", type=float, default=0.05, help="weight of the gradient penalty")
    parser.add_argument("--lazy-reg", type=int, default=15, help="steps between gradient penalties")
    parser.add_argument("--ema-decay", type=float, default=0.999)
    parser.add_argument("--num-channels-dae", type=int, default=16, help="channels of the generator")
    parser.add_argument("--ch-mult", type=int, nargs="+", default=[1, 2], help="channel factor per level")
    parser.add_argument("--num-res-blocks", type=int, default=1)
    parser.add_argument("--nz", type=int, default=16, help="width of the latent")
    parser.add_argument("--z-emb-dim", type=int, default=64)
    parser.add_argument("--n-mlp", type=int, default=2, help="layers of the mapping network")
    parser.add_argument("--ngf", type=int, default=32, help="channels of the discriminator")
    parser.add_argument("--t-emb-dim", type=int, default=64)
    return parser.parse_args(arguments)


def settings(options: argparse.Namespace) -> argparse.Namespace:
    """What a run's steps depend on, under the names of the published training script."""
    own = {k: v for k, v in vars(options).items() if k not in ("out", "resume", "hours", "threads")}
    return argparse.Namespace(**FIXED, **own)


class Window:
    """Losses since the last row of the log."""

    def __init__(self) -> None:
        self.steps: list[StepLosses] = []
        self.began = time.monotonic()

    def add(self, losses: StepLosses) -> None:
        self.steps.append(losses)

    def means(self) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Discriminator and generator losses by t, [T] each, and the mean squared gradient."""
        d, d_count, g, g_count = (
            torch.stack([getattr(s, name) for s in self.steps]).sum(0)
            for name in ("d_sum", "d_count", "g_sum", "g_count")
        )
        r1 = [s.r1 for s in self.steps if s.r1 is not None]
        return d / d_count, g / g_count, sum(r1) / len(r1) if r1 else float("nan")

    def rate(self) -> float:
        """Steps a second."""
        return len(self.steps) / (time.monotonic() - self.began)


def train(options: argparse.Namespace, console: Console) -> Trainer:
    """Run to the last iteration, or for the hours given; checkpoints, grids and losses go to OUT."""
    args, out = settings(options), options.out
    state = out / "content.pth"
    content = load_training_state(state) if options.resume and state.exists() else None
    if content is None and state.exists():
        raise SystemExit(f"{state} exists: go on with --resume, or give another --out")
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    torch.manual_seed(args.seed)
    trainer = Trainer(args)
    if content is not None:
        _check_same_network(args, content["args"], state)
        trainer.load_state_dicts(content)
    batches = Batches(training_images(), args.batch_size, args.seed)
    log = LossLog(out, args.num_timesteps, trainer.global_step)
    deadline = time.monotonic() + 3600 * options.hours
    window = Window()

    def save() -> None:
        epoch = batches.epoch(trainer.global_step)
        save_generator(trainer, epoch, out)
        save_grid(trainer, out)
        save_training_state(trainer, epoch, out)

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=args.iterations, completed=trainer.global_step)
        while trainer.global_step < args.iterations and time.monotonic() < deadline:
            window.add(trainer.step(batches[trainer.global_step]))
            step = trainer.global_step
            if step % LOG_EVERY == 0 or step == args.iterations:
                d, g, r1 = window.means()
                text = f"D {d.mean():.3f}  G {g.mean():.3f}  {window.rate() * args.batch_size:.0f} images/s"
                log.add(step, r1, d, g)
                progress.update(task, description=text)
                if not console.is_terminal:
                    console.print(f"{step}/{args.iterations}  {text}")
                window = Window()
            if step % args.save_every == 0:
                save()
            progress.update(task, completed=step)
    save()
    return trainer


def _check_same_network(now: argparse.Namespace, then: argparse.Namespace, state: Path) -> None:
    for name in NETWORK:
        if getattr(now, name) != getattr(then, name):
            option = "--" + name.replace("_", "-")
            raise SystemExit(f"{option} {getattr(now, name)} contradicts {state}: give {getattr(then, name)}")


def main() -> None:
    train(parse(), Console(stderr=True))


if __name__ == "__main__":
    main()
