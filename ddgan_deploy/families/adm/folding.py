"""Published weights -> those of `network`, which has fewer layers that compute the same. All of it in float64.

- The embedding's layers become one product, from which a norm's scale and shift come with its own in them:
      y = (γ n + β) (1 + s) + b = n γ (1 + s) + (β (1 + s) + b),    s, b = W silu(emb) + w
- Attention has q, k, v one after another, heads within each, and its scale in q.
- What an upsampler is given has a convolution of its own, since it is the same at all steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from ddgan_deploy.families.adm.config import AdmConfig, ClassifierConfig
from ddgan_deploy.families.adm.layout import Layer, Network, all_layers

Weights = Mapping[str, torch.Tensor]


def folded(config: Network, weights: Weights) -> dict[str, torch.Tensor]:
    """The state of a `network.UNet` or `network.Classifier`, float32.

    Args:
        weights: under their published names.
    """
    wide = {name: weight.double() for name, weight in weights.items()}
    styles = [_style(config, layer, wide) for layer in all_layers(config) if layer.kind == "res"]
    for name, values in zip(("style.weight", "style.bias"), zip(*styles, strict=True), strict=True):
        wide[name] = torch.cat(values)
    newer = isinstance(config, AdmConfig) and config.use_new_attention_order
    for layer in all_layers(config):
        if layer.kind == "attention":
            _attention(layer, wide, newer)
    if isinstance(config, AdmConfig) and config.small_size:
        first = wide["input_blocks.0.0.weight"]
        wide["input_blocks.0.0.weight"], wide["first_of_low_res.weight"] = first[:, :3], first[:, 3:]
    if isinstance(config, ClassifierConfig):
        wide |= dict(_pool(config, wide))
    return {name: weight.float().contiguous() for name, weight in wide.items()}


def _style(config: Network, layer: Layer, wide: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight [2 C or C, embedding] and bias of what the embedding gives a residual block."""
    weight, bias = (wide.pop(f"{layer.name}.emb_layers.1.{part}") for part in ("weight", "bias"))
    if not config.use_scale_shift_norm:
        return weight, bias
    gamma, beta = (wide.pop(f"{layer.name}.out_layers.0.{part}") for part in ("weight", "bias"))
    (of_scale, of_shift), (scale, shift) = weight.chunk(2), bias.chunk(2)
    return (
        torch.cat([gamma[:, None] * of_scale, beta[:, None] * of_scale + of_shift]),
        torch.cat([gamma * (1 + scale), beta * (1 + scale) + shift]),
    )


def _attention(layer: Layer, wide: dict[str, torch.Tensor], newer: bool) -> None:
    """q, k, v in rows one after another, for a convolution of 1x1."""
    for part in ("weight", "bias"):
        name = f"{layer.name}.qkv.{part}"
        q, k, v = _split(wide.pop(name), layer.heads, newer)
        # Its square root twice, as published.
        wide[name] = torch.cat([q * (layer.outputs // layer.heads) ** -0.5, k, v])
    _to_pixels(wide, f"{layer.name}.qkv.weight")
    _to_pixels(wide, f"{layer.name}.proj_out.weight")


def _split(rows: torch.Tensor, heads: int, newer: bool) -> Iterator[torch.Tensor]:
    """The rows of q, of k and of v, each with its heads one after another."""
    if newer:
        yield from rows.chunk(3)
        return
    of_heads = rows.reshape(heads, 3, -1, *rows.shape[1:])
    for i in range(3):
        yield of_heads[:, i].flatten(0, 1)


def _pool(config: ClassifierConfig, wide: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Of the last layers: an attention with one query, or products."""
    if config.pool == "adaptive":
        yield "out.3.weight", wide["out.3.weight"].flatten(1)
    if config.pool != "attention":
        return
    # Laid out as the newer, whatever the trunk is.
    for part in ("weight", "bias"):
        q, k, v = wide.pop(f"out.2.qkv_proj.{part}").chunk(3)
        yield f"out.2.query.{part}", (q * config.num_head_channels**-0.5).flatten(1 if part == "weight" else 0)
        yield f"out.2.key_value.{part}", torch.cat([k, v])
    yield "out.2.c_proj.weight", wide["out.2.c_proj.weight"].flatten(1)


def _to_pixels(wide: dict[str, torch.Tensor], name: str) -> None:
    """A convolution of one dimension, or of two -> one of two."""
    wide[name] = wide[name].flatten(1)[..., None, None]
