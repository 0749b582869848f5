"""An ADM's sampler as one graph: the UNet, the classifier's gradient beside it, and a step of DDPM or DDIM."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from ddgan_deploy.export.families.unet import BATCH, Part, constant_styles, denoiser, float32_layers, table
from ddgan_deploy.export.graph.gradient import differentiate
from ddgan_deploy.export.graph.rewriting import Rewrite
from ddgan_deploy.export.graph.steps import SamplerBuilder, Step
from ddgan_deploy.export.graph.trace import trace
from ddgan_deploy.export.loop_choice import LoopChoice
from ddgan_deploy.families.adm.keys import CLASSIFIER
from ddgan_deploy.families.adm.network import Classifier
from ddgan_deploy.families.adm.reference import AdmReference
from ddgan_deploy.families.adm.schedule import Kept, process
from ddgan_deploy.kernels.reverse_step.spec import Coefficients
from ddgan_deploy.sampler import Sampler

_SEED_SCALE = 256.0
"""Of the classifier's gradient on its way, so that float16 holds it; a power of two, which changes nothing else."""


class AdmGraphs:
    """See `export.families.base.GraphFamily`."""

    rewrites: tuple[Rewrite, ...] = ()

    def build(
        self,
        reference: AdmReference,
        sampler: Sampler,
        without: Collection[str] = (),
        loop: LoopChoice = "auto",
    ) -> ir.Model:
        """``x_T``, under DDPM ``noise``, and the knobs -> ``x_0``."""
        build = SamplerBuilder(sampler, loop)
        denoise = denoiser(build, reference.unet, _times(reference))
        push = None if reference.classifier is None else _guide(build, reference, reference.classifier)
        reverse = _ddim if reference.sampling.sampler == "ddim" else _ddpm

        def body(x: ir.Value, step: Step) -> ir.Value:
            out = denoise(x, step)
            return reverse(reference, step, x, out, None if push is None else push(x, step))

        return build.model(build.steps(build.inputs["x_T"], body))


GRAPHS = AdmGraphs()


def _guide(build: SamplerBuilder, reference: AdmReference, classifier: Classifier) -> Part:
    """Guidance times the gradient of the classes' log probabilities by the state, [N, 3, H, W]."""
    shape = reference.unet.config.image_shape
    rows = [torch.zeros(1, width) for width in classifier.style_widths]
    examples = (torch.zeros(2, *shape), rows, torch.zeros(2, 1, dtype=torch.int64))
    model = trace(
        _Classify(classifier), examples, ({0: BATCH}, [{} for _ in rows], {0: BATCH}), otherwise="classifier."
    )
    graph = model.graph
    logits, seed = graph.outputs
    gradient = differentiate(graph, logits, graph.inputs[0], seed)
    graph.outputs[:] = [gradient]
    styles = constant_styles(classifier, _times(reference), "classifier_styles")
    layers = {f"{name}{end}" for name in float32_layers(classifier, CLASSIFIER) for end in ("", "/grad")} | {"seed"}
    axes = build.constant("strength/axes", np.array([2, 3]))
    strength = build.op("Unsqueeze", [build.inputs["guidance"], axes], name="strength", float32=True)

    unscale = build.constant("gradient/unscale", np.float32(1 / _SEED_SCALE))

    def push(x: ir.Value, step: Step) -> ir.Value:
        (found,) = step.copy(graph, [x, *styles(step), build.inputs["label"]], float32=layers)
        gradient = step.op("Mul", [found, unscale], name="gradient", float32=True)
        return step.op("Mul", [strength, gradient], name="push", float32=True)

    return push


def _ddim(reference: AdmReference, step: Step, x: ir.Value, out: ir.Value, push: ir.Value | None) -> ir.Value:
    """Song et al. 2021, equation 12 without noise; guided as Dhariwal & Nichol 2021, algorithm 2."""
    eps, _ = _eps(reference, step, out)
    rows = [
        _coefficients(reference, kept, c0=kept.ddim_x0, ct=kept.ddim_x, s=kept.ddim_x0 * kept.ddim_push)
        for kept in process(reference.sampling)
    ]
    return step.reverse(eps, x, step.row("coefficients", table(rows), float32=True), push)


def _ddpm(reference: AdmReference, step: Step, x: ir.Value, out: ir.Value, push: ir.Value | None) -> ir.Value:
    """Ho et al. 2020, algorithm 2: what is added to the mean is sigma (sigma push + noise)."""
    eps, share = _eps(reference, step, out)
    kept, noise = process(reference.sampling), step.draw("noise")
    # In a Loop the last step draws as well.
    drawn = np.array([1.0] * (len(kept) - 1) + [0.0])
    rows = [
        _coefficients(reference, each, c0=each.c1, ct=each.c2, s=1.0 if push is not None else draws)
        for each, draws in zip(kept, drawn, strict=True)
    ]
    added = noise
    sigma = None if noise is None and push is None else _sigma(reference, step, share)
    if push is not None:
        assert sigma is not None
        added = step.op("Mul", [sigma, push], name="sigma_push", float32=True)
        if noise is not None:
            noise = step.op(
                "Mul", [noise, step.row("drawn", table(drawn), float32=True)], name="drawn_noise", float32=True
            )
            added = step.op("Add", [added, noise], name="push_noise", float32=True)
    if sigma is not None and added is not None:
        added = step.op("Mul", [sigma, added], name="added", float32=True)
    return step.reverse(eps, x, step.row("coefficients", table(rows), float32=True), added)


def _eps(reference: AdmReference, step: Step, out: ir.Value) -> tuple[ir.Value, ir.Value | None]:
    """The network's noise, or its x_0; and where the variance is learned its place between the ends."""
    name = "x_start" if reference.sampling.predict_xstart else "eps"
    if not reference.unet.config.learn_sigma:
        return step.op("Identity", [out], name=name, float32=True), None
    eps, share = step.split(out, [3, 3], name=name, float32=True)
    return eps, share


def _sigma(reference: AdmReference, step: Step, share: ir.Value | None) -> ir.Value:
    """exp(log variance / 2), of each value where it is learned (Nichol & Dhariwal 2021, equation 15), else of all."""
    kept, small = process(reference.sampling), reference.sampling.sigma_small
    if share is None:
        return step.row("sigma", table([np.exp(each.fixed_log_variance(small) / 2) for each in kept]), float32=True)
    # The share's -1..1 go from the lower end to the upper.
    slope = step.row("sigma/slope", table([(each.log_beta - each.log_posterior) / 4 for each in kept]), float32=True)
    middle = step.row("sigma/middle", table([(each.log_beta + each.log_posterior) / 4 for each in kept]), float32=True)
    scaled = step.op("Mul", [share, slope], name="sigma/scaled", float32=True)
    log_sigma = step.op("Add", [scaled, middle], name="sigma/log", float32=True)
    return step.op("Exp", [log_sigma], name="sigma", float32=True)


def _coefficients(reference: AdmReference, kept: Kept, **others: float) -> Coefficients:
    """Of ReverseStep: x_0 from the noise (Ho et al. 2020, equation 15), or as it is; clamped unless told otherwise."""
    sampling = reference.sampling
    a, b = (1.0, 0.0) if sampling.predict_xstart else (-kept.from_eps, kept.from_x)
    limits = {"lo": -1.0, "hi": 1.0} if sampling.clip_denoised else {}
    return Coefficients(a=a, b=b, **limits, **others)


def _times(reference: AdmReference) -> list[float]:
    return [kept.time for kept in process(reference.sampling)]


class _Classify(nn.Module):
    """A classifier's logits, and the scaled gradient of the class's log probability by them."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.seed = _Seed(classifier.config.num_classes)

    def forward(
        self, x: torch.Tensor, styles: list[torch.Tensor], label: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.classifier(x, styles)
        return logits, self.seed(logits, label)


class _Seed(nn.Module):
    """What the gradient starts from: of log softmax(logits)[label] by the logits it is one-hot - softmax."""

    classes: torch.Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("classes", torch.arange(classes)[None], persistent=False)

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return ((label == self.classes).float() - logits.softmax(-1)) * _SEED_SCALE
