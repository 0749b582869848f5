"""One training step of a DDGAN, and all the state that it changes (Xiao et al. 2022, algorithm 1)."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from discriminator import Discriminator
from losses import Diffusion, Pair, discriminator_loss, generator_loss, r1_penalty
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from ddgan_deploy.families.ddgan.config import FIELDS, GeneratorConfig
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.schedule import Schedule

LAST_LR = 1e-5
"""Where the cosine decay ends."""
MAPPING_GAIN = 1.7
"""What the initial weights of the mapping network are multiplied by."""


class EmaAdam(torch.optim.Adam):
    """Adam that keeps in ``state[parameter]["ema"]`` a moving average of each parameter."""

    def __init__(self, parameters: Any, ema_decay: float, **options: Any) -> None:
        super().__init__(parameters, **options)
        self.ema_decay = ema_decay

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = super().step(closure)
        parameters = [p for group in self.param_groups for p in group["params"]]
        for p in parameters:
            if "ema" not in self.state[p]:
                self.state[p]["ema"] = p.detach().clone()
        step = float(self.state[parameters[0]]["step"])
        # A young average follows the weights closely, so that it forgets their start.
        decay = min(self.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_([self.state[p]["ema"] for p in parameters], parameters, 1 - decay)
        return loss


@dataclass(frozen=True)
class StepLosses:
    """What one step reports.

    Attributes:
        d_sum, g_sum: losses summed over the images of each t, float32 [T].
        d_count, g_count: images of each t, float32 [T].
        r1: mean squared gradient at real images; None in steps without the penalty.
    """

    d_sum: torch.Tensor
    d_count: torch.Tensor
    g_sum: torch.Tensor
    g_count: torch.Tensor
    r1: float | None


class Trainer:
    """Generator, discriminator and their optimizers.

    Args:
        args: options under the names of the published training script.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.config = GeneratorConfig(**{name: _frozen(getattr(args, name)) for name in FIELDS})
        self.schedule = Schedule(args.num_timesteps, args.beta_min, args.beta_max, args.use_geometric)
        self.diffusion = Diffusion(self.schedule)
        self.generator = Generator(self.config)
        _wake_mapping(self.generator)
        self.discriminator = Discriminator(self.config.num_channels, args.ngf, args.t_emb_dim)
        betas = (args.beta1, args.beta2)
        self.g_optimizer = EmaAdam(self.generator.parameters(), args.ema_decay, lr=args.lr_g, betas=betas, fused=True)
        self.d_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=args.lr_d, betas=betas, fused=True)
        self.g_scheduler = LambdaLR(self.g_optimizer, _cosine(args.lr_g, args.iterations))
        self.d_scheduler = LambdaLR(self.d_optimizer, _cosine(args.lr_d, args.iterations))
        self.global_step = 0

    def step(self, x_0: torch.Tensor) -> StepLosses:
        """One update of the discriminator, then one of the generator, on images [N, C, H, W]."""
        t, d_losses, r1 = self._update_discriminator(x_0)
        d_sum, d_count = self._by_t(t, d_losses)
        t, g_losses = self._update_generator(x_0)
        g_sum, g_count = self._by_t(t, g_losses)
        self.g_scheduler.step()
        self.d_scheduler.step()
        self.global_step += 1
        return StepLosses(d_sum, d_count, g_sum, g_count, r1)

    def _update_discriminator(self, x_0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float | None]:
        args = self.args
        self.discriminator.requires_grad_(True)
        t, pair = self._draw(x_0)
        with torch.no_grad():
            fake = self._fake(pair, t)
        penalized = self.global_step % args.lazy_reg == 0
        real = pair.x_t.requires_grad_(penalized)
        real_logits = self.discriminator(real, pair.x_next, t)
        losses = discriminator_loss(real_logits, self.discriminator(fake, pair.x_next, t))
        loss, r1 = losses.mean(), None
        if penalized:
            penalty = r1_penalty(real_logits, real).mean()
            loss, r1 = loss + args.r1_gamma / 2 * penalty, penalty.item()
        self.d_optimizer.zero_grad()
        loss.backward()
        self.d_optimizer.step()
        return t, losses.detach(), r1

    def _update_generator(self, x_0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.discriminator.requires_grad_(False)
        t, pair = self._draw(x_0)
        losses = generator_loss(self.discriminator(self._fake(pair, t), pair.x_next, t))
        self.g_optimizer.zero_grad()
        losses.mean().backward()
        self.g_optimizer.step()
        return t, losses.detach()

    def _draw(self, x_0: torch.Tensor) -> tuple[torch.Tensor, Pair]:
        t = torch.randint(self.schedule.steps, (len(x_0),))
        return t, self.diffusion.pair(x_0, t)

    def _fake(self, pair: Pair, t: torch.Tensor) -> torch.Tensor:
        z = torch.randn(len(t), self.config.nz)
        return self.diffusion.posterior(self.generator(pair.x_next, t, z), pair.x_next, t)

    def _by_t(self, t: torch.Tensor, losses: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        zeros = torch.zeros(self.schedule.steps)
        return zeros.index_add(0, t, losses), zeros.index_add(0, t, torch.ones_like(losses))

    def ema_generator(self) -> Generator:
        """A generator with the averaged weights, for sampling."""
        generator = Generator(self.config)
        generator.load_state_dict(self.ema_weights())
        return generator.eval().requires_grad_(False)

    def ema_weights(self) -> dict[str, torch.Tensor]:
        """The averaged weights by parameter name; the weights themselves before the first step."""
        state = self.g_optimizer.state
        return {name: state[p]["ema"] if p in state else p.detach() for name, p in self.generator.named_parameters()}

    def state_dicts(self) -> dict[str, Any]:
        """Everything that steps change, under the names of the published ``content.pth``."""
        return {
            "netG_dict": _prefixed(self.generator),
            "optimizerG": self.g_optimizer.state_dict(),
            "schedulerG": self.g_scheduler.state_dict(),
            "netD_dict": _prefixed(self.discriminator),
            "optimizerD": self.d_optimizer.state_dict(),
            "schedulerD": self.d_scheduler.state_dict(),
            "global_step": self.global_step,
            "rng": torch.get_rng_state(),
        }

    def load_state_dicts(self, content: dict[str, Any]) -> None:
        """Continue from `state_dicts`; learning rates follow this trainer's own ``args``."""
        self.generator.load_state_dict(_bare(content["netG_dict"]))
        self.discriminator.load_state_dict(_bare(content["netD_dict"]))
        for optimizer, scheduler, side in (
            (self.g_optimizer, self.g_scheduler, "G"),
            (self.d_optimizer, self.d_scheduler, "D"),
        ):
            optimizer.load_state_dict(content[f"optimizer{side}"])
            scheduler.last_epoch = content["global_step"]
            for group, base, factor in zip(
                optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
            ):
                group["lr"] = base * factor(content["global_step"])
        self.global_step = content["global_step"]
        torch.set_rng_state(content["rng"])


def _wake_mapping(generator: Generator) -> None:
    """Start with latents that matter.

    Each SiLU halves small values, so that at the published scale of initialization
    the styles hardly vary with z; a short training then learns to ignore it.
    """
    with torch.no_grad():
        for layer in generator.z_transform:
            if isinstance(layer, nn.Linear):
                layer.weight *= MAPPING_GAIN


def _cosine(lr: float, iterations: int) -> Callable[[int], float]:
    """Factor on lr by step, from 1 down to `LAST_LR` after so many iterations."""
    last = min(1.0, LAST_LR / lr)

    def factor(step: int) -> float:
        return last + (1 - last) * (1 + math.cos(math.pi * min(step / iterations, 1))) / 2

    return factor


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _prefixed(module: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict as ``DistributedDataParallel`` names it, which published checkpoints keep."""
    return {f"module.{name}": value for name, value in module.state_dict().items()}


def _bare(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("module."): value for name, value in state.items()}
