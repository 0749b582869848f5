"""Published weights of a FastGAN generator -> those of `network.Generator`, with all that is constant folded.

Spectral normalization divides a weight W by u' W v, whose u and v are as they were saved: weights are moving averages,
u and v are of the last training step, and the published code does not bring them up to date in evaluation.
Batch normalization becomes a factor and a bias of the convolution before it; noise, which is added between the two, a
weight for each channel. Of a conditional network the normalization becomes one affine map of the class's embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.fastgan import published
from ddgan_deploy.families.fastgan.config import SMALLEST, FastganConfig

_EPSILON = 1e-5
"""Of normalizations."""


class _Double:
    """Weights in float64, each while it is looked at: all at once they would double the memory."""

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        self._weights = weights

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._weights[name].double()


def folded(config: FastganConfig, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The network's weights, float32, by the names that they have there.

    Args:
        weights: finite, by the names of `published.needed`.

    Raises:
        InputError: a folded one is not finite; the message names it.
    """
    found = {name: weight.float().contiguous() for name, weight in _folded(config, _Double(weights))}
    for name, weight in found.items():
        if not torch.isfinite(weight).all():
            raise InputError(
                f"{name} is not finite with its normalization: training has diverged, give an earlier snapshot"
            )
    return found


def _folded(config: FastganConfig, weights: _Double) -> Iterator[tuple[str, torch.Tensor]]:
    scale, shift = _norm(weights, f"{published.FIRST}.1")
    first = _bounded(weights, f"{published.FIRST}.0", rows_at=1) * scale[:, None, None]
    yield "init.linear.weight", first.flatten(1).t()
    yield "init.linear.bias", shift.repeat_interleave(SMALLEST * SMALLEST)
    if config.cond:
        yield "embed.weight", weights[published.EMBEDDING][: config.c_dim]
    for resolution in config.block_resolutions:
        for part, layer in zip(("first", "second"), published.layers(config, resolution), strict=False):
            parts = _class_layer(weights, layer) if config.cond else _layer(weights, layer)
            yield from ((f"feat_{resolution}.{part}.{name}", weight) for name, weight in parts)
        if config.gated_by(resolution) is not None:
            for part, name in zip(("squeeze", "excite"), published.gate(resolution), strict=True):
                yield f"se_{resolution}.{part}.weight", _bounded(weights, name)
    yield "to_big.weight", _bounded(weights, published.LAST)
    yield "to_big.bias", weights[f"{published.LAST}.bias"]


def _layer(weights: _Double, layer: published.PublishedLayer) -> Iterator[tuple[str, torch.Tensor]]:
    scale, shift = _norm(weights, layer.norm)
    yield "conv.weight", _bounded(weights, layer.conv) * scale[:, None, None, None]
    yield "conv.bias", shift
    if layer.noise is not None:
        yield "noise.weight", (weights[f"{layer.noise}.weight"] * scale)[None, :, None, None]


def _class_layer(weights: _Double, layer: published.PublishedLayer) -> Iterator[tuple[str, torch.Tensor]]:
    yield "conv.weight", _bounded(weights, layer.conv)
    if layer.noise is not None:
        yield "noise.weight", weights[f"{layer.noise}.weight"][None, :, None, None]
    # (x - mean) / deviation * (1 + gain(y)) + bias(y), with gain and bias affine in y.
    mean, variance = (weights[f"{layer.norm}.{name}"] for name in ("stored_mean", "stored_var"))
    inverse = torch.rsqrt(variance + _EPSILON)
    gain, bias = (f"{layer.norm}.{name}" for name in ("gain", "bias"))
    scale_weight = _bounded(weights, gain) * inverse[:, None]
    scale_bias = (1 + weights[f"{gain}.bias"]) * inverse
    yield "style.linear.weight", torch.cat([scale_weight, _bounded(weights, bias) - mean[:, None] * scale_weight])
    yield "style.linear.bias", torch.cat([scale_bias, weights[f"{bias}.bias"] - mean * scale_bias])


def _norm(weights: _Double, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift of a batch normalization, each [C]."""
    parts = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, variance = (weights[f"{name}.{part}"] for part in parts)
    scale = weight * torch.rsqrt(variance + _EPSILON)
    return scale, bias - mean * scale


def _bounded(weights: _Double, name: str, rows_at: int = 0) -> torch.Tensor:
    """A weight over its spectral norm as the stored u and v tell it; its matrix has rows along that axis."""
    weight, u, v = (weights[f"{name}.{part}"] for part in (published.BOUNDED, "weight_u", "weight_v"))
    return weight / (u @ (weight.movedim(rows_at, 0).flatten(1) @ v))
