"""Published weights -> those of `network`: everything that is constant is worked out once, in float64.

mapping and affines      W * gain, b * gain; sqrt(2) after an activation goes into the weights before it, as
                         lrelu(a x) = a lrelu(x) for a > 0
classes                  embed(one-hot) normalized, one row a class
convolutions             W' = W c, c = 1 / (sqrt(I k^2) max|W|) a channel of the output, so that no product leaves
                         float16; demodulation undoes it
demodulation             d = gain / (c sqrt(sum_i s_i^2 sum_k W^2 + 1e-8)), from sum_k W'^2 / gain^2 and
                         1e-8 c^2 / gain^2
noise                    strength * gain, and times the constant picture where there is one
filters                  times 4 where they fill up what doubling leaves open
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import torch

from ddgan_deploy.families.stylegan2.config import GAINS, Layer, StyleGan2Config, blocks, layers
from ddgan_deploy.families.stylegan2.flags import Noise
from ddgan_deploy.families.stylegan2.keys import Gains, expected_gains

EPSILON = 1e-8
"""Below the square roots of both normalizations."""
TINY = 1e-12
"""Weights and styles that are smaller count as that large where they are divided by."""
Weights = Mapping[str, torch.Tensor]


def folded(config: StyleGan2Config, published: Weights, noise: Noise) -> dict[str, torch.Tensor]:
    """The state of a `network.Generator`, float32.

    Args:
        config: the architecture.
        published: `keys.expected_shapes`, float32.
        noise: which the generator has.
    """
    weights = {name: value.double() for name, value in published.items()}
    gains = expected_gains(config)
    made = (
        _mapping(config, weights, gains),
        _styles(config, weights, gains),
        _synthesis(config, weights, gains, noise),
    )
    found = dict(itertools.chain.from_iterable(made))
    return {name: value.float().contiguous() for name, value in found.items()}


def _mapping(config: StyleGan2Config, weights: Weights, gains: Gains) -> Iterator[tuple[str, torch.Tensor]]:
    if config.has_mean:
        yield "truncation.mean", weights["mapping.w_avg"]
    if config.c_dim:
        weight, bias = (weights[f"mapping.embed.{part}"] for part in ("weight", "bias"))
        table = weight.t() * gains["mapping.embed", "weight_gain"] + bias
        yield "mapping.classes", table * (table.square().mean(1, keepdim=True) + EPSILON).rsqrt()
    gain = GAINS[config.mapping_activation]
    for i in range(len(config.mapping_widths)):
        for part in ("weight", "bias"):
            own = gains[f"mapping.fc{i}", f"{part}_gain"]
            yield f"mapping.layers.{i}.linear.{part}", weights[f"mapping.fc{i}.{part}"] * (gain * own)


def _styles(config: StyleGan2Config, weights: Weights, gains: Gains) -> Iterator[tuple[str, torch.Tensor]]:
    """All affines as one product."""
    rows, biases = [], []
    for layer in layers(config):
        path = f"synthesis.{layer.name}"
        # An image's weights are multiplied, which are nothing but what styles are multiplied by.
        scale = gains[path, "weight_gain"] if layer.is_rgb else 1.0
        rows.append(weights[f"{path}.affine.weight"] * (gains[f"{path}.affine", "weight_gain"] * scale))
        biases.append(weights[f"{path}.affine.bias"] * scale)
    yield "styles.weight", torch.cat(rows)
    yield "styles.bias", torch.cat(biases)


def _synthesis(
    config: StyleGan2Config, weights: Weights, gains: Gains, noise: Noise
) -> Iterator[tuple[str, torch.Tensor]]:
    for block in blocks(config):
        path = f"synthesis.{block.name}"
        if not block.inputs:
            yield f"{path}.const", weights[f"{path}.const"][None]
        for layer in block.layers:
            if layer.is_rgb:
                yield f"synthesis.{layer.name}.modulation.weight", weights[f"synthesis.{layer.name}.weight"][..., 0, 0]
                yield f"synthesis.{layer.name}.image.bias", weights[f"synthesis.{layer.name}.bias"][:, None]
            else:
                # A residual sum keeps its variance.
                share = 0.5**0.5 if block.is_summed and not layer.up else 1.0
                yield from _convolution(gains[f"synthesis.{layer.name}", "act_gain"] * share, layer, weights, noise)
        if block.enlarges_image:
            yield f"{path}.sum.filter", _doubling(weights[f"{path}.resample_filter"], config.num_channels)
        if block.is_summed:
            gain = gains[f"{path}.skip", "weight_gain"] * 0.5**0.5
            yield f"{path}.skip.conv.weight", weights[f"{path}.skip.weight"] * gain
            yield f"{path}.skip.filter", _doubling(weights[f"{path}.skip.resample_filter"], block.outputs)


def _doubling(taps: torch.Tensor, channels: int) -> torch.Tensor:
    """A filter, the same for every channel, that fills up what doubling leaves open."""
    return (taps * 4).repeat(channels, 1, 1, 1)


def _convolution(gain: float, layer: Layer, weights: Weights, noise: Noise) -> Iterator[tuple[str, torch.Tensor]]:
    path = f"synthesis.{layer.name}"
    weight = weights[f"{path}.weight"]
    c = 1 / (weight.abs().amax((1, 2, 3)).clamp(min=TINY) * weight[0].numel() ** 0.5)
    scaled = weight * c[:, None, None, None]
    yield f"{path}.conv.weight", scaled.transpose(0, 1) if layer.up else scaled
    if layer.up:
        yield f"{path}.conv.filter", _doubling(weights[f"{path}.resample_filter"].flip(0, 1), layer.outputs)
    yield f"{path}.demodulation.squares", scaled.square().sum((2, 3)).t() / gain**2
    yield f"{path}.demodulation.epsilon", EPSILON * c.square() / gain**2
    yield f"{path}.bias", weights[f"{path}.bias"] * gain
    if f"{path}.noise_strength" in weights and noise != "none":
        strength = weights[f"{path}.noise_strength"] * gain
        picture = weights[f"{path}.noise_const"][None, None]
        yield f"{path}.noise.factor", strength * picture if noise == "const" else strength
