"""ADM's samplers stated naively in float64: the process with its respacing, DDPM and DDIM, guided or not."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from tests.ddgan_deploy.families.adm import published
from tests.ddgan_deploy.families.adm.made import Made


@dataclass(frozen=True)
class Process:
    """By the names that the published scripts have."""

    timestep_respacing: str
    use_ddim: bool = False
    diffusion_steps: int = 1000
    noise_schedule: str = "linear"
    predict_xstart: bool = False
    rescale_timesteps: bool = False
    clip_denoised: bool = True
    sigma_small: bool = False


def kept(count: int, text: str) -> list[int]:
    """The steps that a respacing keeps, ascending."""
    if text.startswith("ddim"):
        wanted = int(text.removeprefix("ddim"))
        return next(list(range(0, count, i)) for i in range(1, count) if len(range(0, count, i)) == wanted)
    counts = [int(each) for each in text.split(",")] if text else [count]
    found, start = [], 0
    for i, wanted in enumerate(counts):
        size = count // len(counts) + (1 if i < count % len(counts) else 0)
        place, stride = 0.0, (size - 1) / (wanted - 1) if wanted > 1 else 1
        for _ in range(wanted):
            found.append(start + round(place))
            place += stride
        start += size
    return found


def betas(process: Process) -> list[float]:
    """Of the process as trained."""
    count = process.diffusion_steps
    if process.noise_schedule == "linear":
        first, last = 0.0001 * 1000 / count, 0.02 * 1000 / count
        return [first + (last - first) * i / (count - 1) for i in range(count)]
    bar = lambda u: math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2  # noqa: E731
    return [min(1 - bar((i + 1) / count) / bar(i / count), 0.999) for i in range(count)]


def alpha_bars(process: Process) -> list[float]:
    """After each kept step, ascending."""
    products, product = [], 1.0
    for beta in betas(process):
        product *= 1 - beta
        products.append(product)
    of_kept = [products[t] for t in kept(process.diffusion_steps, process.timestep_respacing)]
    # Through the kept steps' own betas, as published: where ā falls to 1e-9 within a step their rounding tells.
    found, product = [], 1.0
    for before, after in itertools.pairwise([1.0, *of_kept]):
        product *= 1 - (1 - after / before)
        found.append(product)
    return found


def step(
    unet: Made, classifier: Made | None, process: Process, k: int, x, noise, label=None, guidance=None, low_res=None
):
    """The network's output for x_0 or the noise, the gradient if there is one, and the next state; k counts as it runs.

    Args:
        x, noise: [N, 3, H, W]; label: [N]; guidance: [N, 1, 1, 1]; low_res: [N, 3, h, w].
    """
    times = kept(process.diffusion_steps, process.timestep_respacing)
    i = len(times) - 1 - k
    bars = alpha_bars(process)
    bar, before = bars[i], bars[i - 1] if i else 1.0
    t = torch.tensor(times[i])
    t = t.float() * (1000 / process.diffusion_steps) if process.rescale_timesteps else t
    out = published.unet(unet, x, float(t), label, low_res)
    raw = out[:, :3]
    found = [raw]
    x_0 = raw if process.predict_xstart else x / math.sqrt(bar) - math.sqrt(1 / bar - 1) * raw
    x_0 = x_0.clamp(-1, 1) if process.clip_denoised else x_0
    push = 0
    if classifier is not None:
        found.append(published.gradient(classifier, x, float(t), label))
        push = guidance * found[-1]
    if process.use_ddim:
        eps = (x / math.sqrt(bar) - x_0) / math.sqrt(1 / bar - 1) - math.sqrt(1 - bar) * push
        if classifier is not None:
            x_0 = x / math.sqrt(bar) - math.sqrt(1 / bar - 1) * eps
        return [*found, math.sqrt(before) * x_0 + math.sqrt(1 - before) * eps]
    beta = 1 - bar / before
    mean = beta * math.sqrt(before) / (1 - bar) * x_0 + (1 - before) * math.sqrt(1 - beta) / (1 - bar) * x
    # The last step's own would be 0.
    after = bars[1]
    smallest = (1 - after / bar) * (1 - bar) / (1 - after) if i == 0 else beta * (1 - before) / (1 - bar)
    if unet.learn_sigma:
        share = (out[:, 3:] + 1) / 2
        variance = (share * math.log(beta) + (1 - share) * math.log(smallest)).exp()
    else:
        variance = torch.tensor(smallest if process.sigma_small or i == 0 else beta)
    return [*found, mean + variance * push + (variance.sqrt() * noise if i else 0)]
