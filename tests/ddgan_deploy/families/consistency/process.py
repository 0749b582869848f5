"""The sampler of consistency models stated naively in float64: the boundary condition, onestep and multistep."""

from __future__ import annotations

import itertools
import math

import torch

from tests.ddgan_deploy.families.adm import published
from tests.ddgan_deploy.families.adm.made import Made


def level(index: int, count: int, least: float, most: float) -> float:
    """The noise's standard deviation, of so many from the most to the least."""
    share = index / (count - 1)
    return ((1 - share) * most ** (1 / 7) + share * least ** (1 / 7)) ** 7


def sample(it: Made, x_T, noise=None, label=None, ts="", steps=40, sigma_min=0.002, sigma_max=80.0, clip=True):
    """The network's output and the state after it, step by step; of no indices there is one step.

    Args:
        x_T: [N, 3, H, W]; noise: [N, T - 1, 3, H, W]; label: [N].
    """
    x, found = sigma_max * x_T.double(), []
    indices = [int(index) for index in ts.split(",")] if ts else []
    sigmas = [level(index, steps, sigma_min, sigma_max) for index in indices] or [sigma_max, sigma_min]
    for k, (sigma, after) in enumerate(itertools.pairwise(sigmas)):
        total = math.sqrt(sigma**2 + 0.25)
        out = published.unet(it, x / total, 1000 * 0.25 * math.log(sigma), label)
        above = sigma - sigma_min
        x = 0.25 / (above**2 + 0.25) * x + above * 0.5 / total * out
        is_last = k == len(sigmas) - 2
        if clip or is_last:
            x = x.clamp(-1, 1)
        if not is_last:
            x = x + math.sqrt(after**2 - sigma_min**2) * noise[:, k].double()
        found += [out, x]
    return found


def inputs_of(it: Made, steps: int, count: int = 2):
    """Of the sampler, for some images."""
    random = torch.Generator().manual_seed(7)
    shape = (3, it.image_size, it.image_size)
    found = {"x_T": torch.randn(count, *shape, generator=random)}
    if steps > 1:
        found["noise"] = torch.randn(count, steps - 1, *shape, generator=random)
    if it.num_classes:
        found["label"] = torch.arange(count)[:, None] % it.num_classes
    return found
