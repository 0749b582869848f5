"""The blocks of the generator: what takes conditioning, and what joins features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.layers import (
    NIN,
    Resample,
    ResampleKind,
    init_uniform,
    initialized,
    map_pixels,
    norm_groups,
    residual,
)
from ddgan_deploy.kernels.adagn.spec import adagn

EPSILON = 1e-6
TINY = 1e-10
"""Initial scale of the last layer of a residual branch, which then starts as the identity."""


class Style(NamedTuple):
    """Scale and shift of one AdaGN, each [N or 1, C]."""

    scale: torch.Tensor
    shift: torch.Tensor


class Conditioning(NamedTuple):
    """What (t, z) say to the U-Net, in the order in which its blocks run.

    Attributes:
        time_biases: one [N or 1, C, 1, 1] a ResBlock; empty where the network ignores t.
        styles: one a style layer: per ResBlock two ("biggan") or one ("biggan_oneadagn").
    """

    time_biases: list[torch.Tensor]
    styles: list[Style]


class PixelNorm(nn.Module):
    """z / sqrt(mean(z^2) + 1e-8) over the last axis, in float32."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        z = z.float()
        return z / torch.sqrt(torch.mean(z**2, dim=-1, keepdim=True) + 1e-8)


class AdaGN(nn.Module):
    """Adaptive group normalization; its style layer is run by `Generator.styles`."""

    def __init__(self, channels: int, z_emb_dim: int) -> None:
        super().__init__()
        self.groups = norm_groups(channels)
        self.style = nn.Linear(z_emb_dim, 2 * channels)
        init_uniform(self.style)
        with torch.no_grad():
            self.style.bias[:channels] = 1
            self.style.bias[channels:] = 0

    def forward(self, x: torch.Tensor, style: Style, activation: str = "silu") -> torch.Tensor:
        return adagn(x, style.scale, style.shift, self.groups, EPSILON, activation)


class GroupNorm(nn.Module):
    """Affine group normalization: an AdaGN whose style is constant."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.groups = norm_groups(channels)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor, activation: str = "none") -> torch.Tensor:
        return adagn(x, self.weight[None], self.bias[None], self.groups, EPSILON, activation)


class ResBlock(nn.Module):
    """The BigGAN residual block, optionally resampling by two."""

    def __init__(
        self, config: GeneratorConfig, in_channels: int, out_channels: int, resample: ResampleKind = "none"
    ) -> None:
        super().__init__()
        self.skip_rescale = config.skip_rescale
        self.one_adagn = config.resblock_type == "biggan_oneadagn"
        self.GroupNorm_0 = AdaGN(in_channels, config.z_emb_dim)
        self.Conv_0 = initialized(nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.Dense_0 = nn.Linear(4 * config.num_channels_dae, out_channels)
        self.GroupNorm_1: AdaGN | GroupNorm = (
            GroupNorm(out_channels) if self.one_adagn else AdaGN(out_channels, config.z_emb_dim)
        )
        self.Conv_1 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        has_shortcut = in_channels != out_channels or resample != "none"
        self.Conv_2: nn.Module = nn.Conv2d(in_channels, out_channels, 1) if has_shortcut else nn.Identity()
        self.resample = Resample(config, in_channels, resample)
        for layer in (self.Conv_0, self.Dense_0, self.Conv_2):
            init_uniform(layer)
        init_uniform(self.Conv_1, TINY)

    def time_bias(self, temb: torch.Tensor) -> torch.Tensor:
        """[N, out_channels, 1, 1] from the embedding of t, [N, 4 nf]."""
        bias: torch.Tensor = self.Dense_0(F.silu(temb))
        return bias[:, :, None, None]

    def forward(self, x: torch.Tensor, time_bias: torch.Tensor | None, styles: Iterator[Style]) -> torch.Tensor:
        h = self.resample(self.GroupNorm_0(x, next(styles)))
        h = self.Conv_0(h)
        if time_bias is not None:
            h = h + time_bias
        norm = self.GroupNorm_1
        h = norm(h, next(styles)) if isinstance(norm, AdaGN) else norm(h, "silu")
        h = self.Conv_1(h)
        return residual(self.Conv_2(self.resample(x)), h, self.skip_rescale)


class Attention(nn.Module):
    """Self-attention with one head over all pixels."""

    def __init__(self, config: GeneratorConfig, channels: int) -> None:
        super().__init__()
        self.skip_rescale = config.skip_rescale
        self.scale = channels**-0.5
        self.GroupNorm_0 = GroupNorm(channels)
        self.NIN_0 = NIN(channels, channels)
        self.NIN_1 = NIN(channels, channels)
        self.NIN_2 = NIN(channels, channels)
        self.NIN_3 = NIN(channels, channels, TINY)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self._queries_keys_values(self.GroupNorm_0(x)).flatten(2).chunk(3, dim=1)
        weights = torch.softmax(q.transpose(1, 2) @ k, dim=-1)
        h = self.NIN_3((v @ weights.transpose(1, 2)).reshape(-1, *x.shape[1:]))
        return residual(x, h, self.skip_rescale)

    def _queries_keys_values(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, 3C, H, W], by one product."""
        q, k, v = self.NIN_0, self.NIN_1, self.NIN_2
        # The scale goes to q: the product of q and k could leave fp16's range without it.
        weight = torch.cat([q.W * self.scale, k.W, v.W], dim=1)
        return map_pixels(x, weight, torch.cat([q.b * self.scale, k.b, v.b]))


class Combine(nn.Module):
    """The image's pyramid through a 1x1 convolution, then summed with h or set before it."""

    def __init__(self, config: GeneratorConfig, channels: int) -> None:
        super().__init__()
        self.concatenates = config.progressive_combine == "cat"
        self.Conv_0 = nn.Conv2d(config.num_channels, channels, 1)
        init_uniform(self.Conv_0)

    def forward(self, pyramid: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        pyramid = self.Conv_0(pyramid)
        return torch.cat([pyramid, h], dim=1) if self.concatenates else pyramid + h
