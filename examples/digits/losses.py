"""The training objective (Xiao et al. 2022, section 4.1).

The generator learns to denoise step t: from x_{t+1} it predicts x_0, from which
the posterior draws x_t. The discriminator tells that x_t from the true one. As in
the published code t counts from 0, and a first beta of almost nothing stands
before the schedule, so that x_{t=0} is the image itself.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from ddgan_deploy.families.ddgan.schedule import Schedule

FIRST_BETA = 1e-8


class Pair(NamedTuple):
    """Two neighbouring states of the diffusion of the same image, each [N, C, H, W]."""

    x_t: torch.Tensor
    x_next: torch.Tensor


class Diffusion:
    """The forward process and its posterior, for batches of mixed t."""

    def __init__(self, schedule: Schedule) -> None:
        betas = torch.cat([torch.tensor([FIRST_BETA]), torch.from_numpy(schedule.betas)]).double()
        self.steps = schedule.steps
        self.scale, self.sigma = (1 - betas).sqrt().float(), betas.sqrt().float()
        self.scale_cum = (1 - betas).cumprod(0).sqrt().float()
        self.sigma_cum = (1 - (1 - betas).cumprod(0)).sqrt().float()
        posterior = schedule.posterior
        self.coef_x0 = torch.from_numpy(posterior.coef_x0)
        self.coef_xt = torch.from_numpy(posterior.coef_xt)
        self.coef_noise = torch.from_numpy(posterior.sigma).clone()
        self.coef_noise[0] = 0

    def pair(self, x_0: torch.Tensor, t: torch.Tensor) -> Pair:
        """x_t ~ q(x_t | x_0) and x_{t+1} ~ q(x_{t+1} | x_t) for integer t [N] in 0..T-1."""
        x_t = _at(self.scale_cum, t) * x_0 + _at(self.sigma_cum, t) * torch.randn_like(x_0)
        x_next = _at(self.scale, t + 1) * x_t + _at(self.sigma, t + 1) * torch.randn_like(x_0)
        return Pair(x_t, x_next)

    def posterior(self, x_0: torch.Tensor, x_next: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """x_t ~ q(x_t | x_{t+1}, x_0); at t = 0 the mean, which is x_0 itself (equation 4)."""
        mean = _at(self.coef_x0, t) * x_0 + _at(self.coef_xt, t) * x_next
        return mean + _at(self.coef_noise, t) * torch.randn_like(x_0)


def _at(values: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return values[t][:, None, None, None]


def discriminator_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """-log D(real) - log(1 - D(fake)) of each logit pair, [N]."""
    return F.softplus(-real) + F.softplus(fake)


def generator_loss(fake: torch.Tensor) -> torch.Tensor:
    """The non-saturating loss -log D(fake) of each logit, [N]."""
    return F.softplus(-fake)


def r1_penalty(logits: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """|grad of D at each real x_t|^2, [N]; to be weighted by gamma / 2 (Mescheder et al. 2018)."""
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(1)
