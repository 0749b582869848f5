"""The reference sampler in PyTorch: DDPM (Ho et al. 2020, algorithm 2) and DDIM (Song et al. 2021, equation 12 without
noise), guided by a classifier (Dhariwal & Nichol 2021, algorithms 1 and 2) or not, one step at a time.

As published, the gradient is taken at x_t, not at the mean, and under DDIM x_0 is not clamped again after guidance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, TypeVar

import torch
from torch import nn

from ddgan_deploy.families.adm.config import AdmConfig, AdmSampling
from ddgan_deploy.families.adm.folding import folded
from ddgan_deploy.families.adm.keys import CLASSIFIER, expected_shapes
from ddgan_deploy.families.adm.layers import AdaGN, Norm
from ddgan_deploy.families.adm.network import Classifier, UNet
from ddgan_deploy.families.adm.schedule import Kept, process

Weights = Mapping[str, torch.Tensor]
Network = Callable[..., torch.Tensor]
_N = TypeVar("_N", UNet, Classifier)


@dataclass(frozen=True)
class AdmReference:
    """A UNet, its process, and the classifier that guides it; see `families.base.Reference`.

    Attributes:
        unet, classifier: the networks as they were read.
        sampling: the process.
        denoise, classify: what is called: the networks, or what became of them.
    """

    unet: UNet
    classifier: Classifier | None
    sampling: AdmSampling
    denoise: Network
    classify: Network | None

    landmarks: tuple[type[nn.Module], ...] = (AdaGN, Norm)

    def run(
        self, inputs: Mapping[str, torch.Tensor], step: int | None = None, state: torch.Tensor | None = None
    ) -> Iterator[torch.Tensor]:
        """The network's noise (or x_0), the classifier's gradient if there is one, and the state after each step."""
        x = inputs["x_T"] if state is None else state
        label, noise = inputs.get("label"), inputs.get("noise")
        seen = self.unet.see_low_res(inputs["low_res"]) if "low_res" in inputs else None
        kept = process(self.sampling)
        for k in range(len(kept)) if step is None else (step,):
            t = torch.full((1,), kept[k].time, dtype=torch.float32, device=x.device)
            out = self.denoise(x, self.unet.styles(self.unet.embed(t, label)), seen)
            eps, variance = (out[:, :3], out[:, 3:]) if self.unet.config.learn_sigma else (out, None)
            yield eps
            push = None
            if label is not None and self.classify is not None:
                gradient = self._gradient(x, t, label)
                yield gradient
                push = inputs["guidance"][:, :, None, None] * gradient
            drawn = noise[:, k] if noise is not None and k < len(kept) - 1 else None
            x = stepped(self.sampling, kept[k], x, eps, variance, push, drawn)
            yield x

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Of the UNet, and of the classifier under its prefix."""
        yield from self.unet.named_modules()
        if self.classifier is not None:
            yield from ((f"{CLASSIFIER}{name}", module) for name, module in self.classifier.named_modules())

    def mapped(self, transform: Callable[[Any], Any]) -> AdmReference:
        """With both networks transformed."""
        classify = None if self.classify is None else transform(self.classify)
        return dataclasses.replace(self, denoise=transform(self.denoise), classify=classify)

    def half(self) -> AdmReference:
        """With the convolutions of all blocks in float16, as published; embeddings, norms and softmax stay."""
        for network in (self.unet, self.classifier):
            if network is not None:
                network.halve()
        return self

    def _gradient(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Of the log of the classes' probabilities by x [N, 3, H, W]."""
        assert self.classifier is not None and self.classify is not None
        # Also where the caller infers, of whose tensors autograd takes none.
        with torch.inference_mode(False), torch.enable_grad():
            at = x.clone().requires_grad_()
            logits = self.classify(at, self.classifier.styles(self.classifier.embed_time(t.clone())))
            chosen = logits.float().log_softmax(-1).gather(1, label.clone())
            gradient: torch.Tensor = torch.autograd.grad(chosen.sum(), at)[0]
        return gradient


def stepped(
    sampling: AdmSampling,
    kept: Kept,
    x: torch.Tensor,
    eps: torch.Tensor,
    variance: torch.Tensor | None,
    push: torch.Tensor | None,
    noise: torch.Tensor | None,
) -> torch.Tensor:
    """The state after a step.

    Args:
        x: the state before [N, C, H, W], as all that follow.
        eps: the network's noise, or its x_0.
        variance: a learned one's place between its ends, -1..1.
        push: guidance times the classifier's gradient.
        noise: None at the last step, and under DDIM.
    """
    x_0 = eps if sampling.predict_xstart else kept.from_x * x - kept.from_eps * eps
    if sampling.clip_denoised:
        x_0 = x_0.clamp(-1, 1)
    if sampling.sampler == "ddim":
        if push is not None:
            x_0 = x_0 + kept.ddim_push * push
        return kept.ddim_x0 * x_0 + kept.ddim_x * x
    mean = kept.c1 * x_0 + kept.c2 * x
    if variance is None:
        log_variance = torch.full_like(x, kept.fixed_log_variance(sampling.sigma_small))
    else:
        # Nichol & Dhariwal 2021, equation 15.
        share = (variance + 1) / 2
        log_variance = share * kept.log_beta + (1 - share) * kept.log_posterior
    if push is not None:
        # Dhariwal & Nichol 2021, algorithm 1.
        mean = mean + log_variance.exp() * push
    return mean if noise is None else mean + (0.5 * log_variance).exp() * noise


def reference(config: AdmConfig, weights: Weights, sampling: AdmSampling) -> AdmReference:
    """The sampler of published weights, in evaluation mode; those of a classifier begin with `CLASSIFIER`."""
    unet = load_unet(config, {name: weight for name, weight in weights.items() if not name.startswith(CLASSIFIER)})
    classifier = None
    if config.classifier is not None:
        others = {
            name.removeprefix(CLASSIFIER): value for name, value in weights.items() if name.startswith(CLASSIFIER)
        }
        classifier = _loaded(Classifier(config.classifier), folded(config.classifier, others))
    return AdmReference(unet, classifier, sampling, unet, classifier)


def load_unet(config: AdmConfig, weights: Weights) -> UNet:
    """The network of published weights, in evaluation mode."""
    return _loaded(UNet(config), folded(config, weights))


def untrained(config: AdmConfig) -> dict[str, torch.Tensor]:
    """Published weights whose values stay of a trained network's size."""
    shapes = dict(expected_shapes(config))
    if config.classifier is not None:
        shapes |= {f"{CLASSIFIER}{name}": shape for name, shape in expected_shapes(config.classifier).items()}
    random = torch.Generator().manual_seed(0)
    return {name: _random(name, shape, random) for name, shape in shapes.items()}


def _random(name: str, shape: tuple[int, ...], random: torch.Generator) -> torch.Tensor:
    if len(shape) > 1:
        fan_in = torch.Size(shape[1:]).numel() if "embedding" not in name else 4
        return torch.randn(shape, generator=random) / sqrt(fan_in)
    # Of a norm, or a bias.
    return torch.full(shape, float(name.endswith(".weight")))


def _loaded(module: _N, state: Weights) -> _N:
    module.load_state_dict(state)
    module.eval().requires_grad_(False)
    return module
